"""Runs the pipeline in a confined child process, which reads the untrusted video."""
