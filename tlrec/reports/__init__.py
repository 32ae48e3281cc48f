"""What report.py prints and draws, from the record alone."""
