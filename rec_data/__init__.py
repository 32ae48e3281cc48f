"""Target domains, and the published files."""
