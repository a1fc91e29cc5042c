"""Finds plugins by name, makes each once and keeps it warm. Nothing is loaded before it is asked for."""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Mapping
from importlib.metadata import entry_points

from videoqueue.errors import PipelineError, VideoqueueError
from videoqueue.pipeline.plugin import Plugin, PluginFactory, PluginOptions

logger = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "videoqueue.plugins"
BUILT_IN: Mapping[str, str] = {"ocr": "videoqueue.pipeline.plugins.ocr:create"}


class PluginRegistry:
    """Plugins by name: the built-in ones, those of installed packages, and those given by `factories`.

    A name that two of them claim is refused: which one answered would decide the results.
    """

    def __init__(self, options: PluginOptions, factories: Mapping[str, PluginFactory] | None = None) -> None:
        self._options = options
        self._factories = dict(factories or {})
        self._plugins: dict[str, Plugin] = {}
        self._making = threading.Lock()

    def get(self, name: str) -> Plugin:
        """The plugin of that name, made at the first call.

        Raises:
            PipelineError: it is not installed, or could not be made.
        """
        with self._making:
            if name not in self._plugins:
                self._plugins[name] = self._make(name)
            return self._plugins[name]

    def _make(self, name: str) -> Plugin:
        try:
            plugin = self._factory(name)(self._options)
        except VideoqueueError:
            raise
        except Exception as error:
            logger.exception("plugin cannot be loaded", extra={"plugin": name})
            raise PipelineError(
                f"Plugin {name!r} cannot be loaded. The log has the reason; reinstalling it may help."
            ) from error
        if plugin.manifest.name != name:
            raise PipelineError(
                f"The plugin installed as {name!r} calls itself {plugin.manifest.name!r}: rename one."
            )
        return plugin

    def _factory(self, name: str) -> PluginFactory:
        installed = entry_points(group=ENTRY_POINT_GROUP, name=name)
        claims = len(installed) + (name in BUILT_IN) + (name in self._factories)
        if claims > 1:
            raise PipelineError(
                f"{claims} plugins are called {name!r}. Uninstall all but one, or rename them."
            )
        if not claims:
            raise PipelineError(f"There is no plugin {name!r}. Known plugins: {', '.join(self._names())}.")
        if name in self._factories:
            return self._factories[name]
        if name in BUILT_IN:
            module, _, attribute = BUILT_IN[name].partition(":")
            factory: PluginFactory = getattr(importlib.import_module(module), attribute)
            return factory
        (entry_point,) = installed
        loaded: PluginFactory = entry_point.load()
        return loaded

    def _names(self) -> list[str]:
        return sorted({*BUILT_IN, *self._factories, *entry_points(group=ENTRY_POINT_GROUP).names})
