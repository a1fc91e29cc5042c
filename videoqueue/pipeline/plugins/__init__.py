"""The built-in plugins. Each depends on `videoqueue.pipeline.plugin` only."""
