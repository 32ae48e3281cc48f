"""The conventional recommenders of the published table; `python -m baselines.train --help`."""
