"""Times of onesum beside every other library installed: `python -m onesum.bench --help`."""
