"""Periodic duties of a worker process: sweeping and purging."""
