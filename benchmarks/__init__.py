"""Side-by-side timings against the published way of doing the same work."""
