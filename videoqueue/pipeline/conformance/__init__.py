"""Checks of pipelines and plugins. Loading, running and the `validate` command share them."""
