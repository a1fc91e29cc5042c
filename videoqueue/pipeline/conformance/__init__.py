"""Checks of pipelines and plugins; loading, running and the `validate` command share them."""
