"""Runs the whole service on one machine, for `videoqueue up`."""
