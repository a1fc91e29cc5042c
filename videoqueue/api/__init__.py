"""The HTTP edge: the only code that knows Flask's request."""
