"""The periodic duties of a worker process: rescuing jobs and removing old data."""
