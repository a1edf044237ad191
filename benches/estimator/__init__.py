"""Fits and measures the token estimator: `python -m benches.estimator --help`."""
