"""Draws the pictures of the page for the documents."""
