"""Measurements of speed, memory and reliability; implementations of the same work are compared in turns."""
