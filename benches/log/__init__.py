"""What the log costs and how fast it is: `make bench-log`, or `python -m benches.log --help`."""
