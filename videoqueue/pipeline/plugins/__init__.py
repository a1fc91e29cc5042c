"""The plugins that come with videoqueue. Each is written against `videoqueue.pipeline.plugin` only."""
