"""Datasets: raw files and downloads, sliding windows over ratings, the text and id views of a split, samples."""
