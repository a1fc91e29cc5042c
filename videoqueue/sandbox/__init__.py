"""Runs the pipeline in a confined child process, which decodes the untrusted video."""
