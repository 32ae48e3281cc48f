"""Metrics, significance tests and the log of runs."""
