"""Chain-of-thought data: candidate sets, a three-step teacher, and the tuning stage's samples."""
