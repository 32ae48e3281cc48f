"""Samples: windows over ratings, the text and the ids of a split, and where the raw files come from."""
