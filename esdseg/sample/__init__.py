"""Synthetic tiles named, typed and distributed like the contest's, to try and test without its data."""
