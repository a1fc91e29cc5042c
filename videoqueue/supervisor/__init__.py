"""Runs the whole service on one machine: what `videoqueue up` starts and keeps running."""
