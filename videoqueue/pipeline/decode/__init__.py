"""Decodes a video file into frames: square pixels, upright, BGR."""
