"""Finds plugins by name, makes each once and keeps it warm. Nothing is loaded before it is asked for."""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any

from videoqueue.errors import OutOfMemoryError, PipelineError, VideoqueueError
from videoqueue.pipeline.manifest import manifest_flaws
from videoqueue.pipeline.memory import is_out_of_memory
from videoqueue.pipeline.plugin import Manifest, Plugin, PluginFactory, PluginOptions
from videoqueue.pipeline.version.plugins import Origin, PluginVersion

logger = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "videoqueue.plugins"
BUILT_IN: Mapping[str, str] = {
    "ocr": "videoqueue.pipeline.plugins.ocr:create",
    "yolo": "videoqueue.pipeline.plugins.yolo:create",
}


class FlawedPluginError(PipelineError):
    """A plugin does not keep the contract; `flaws` has every way in which it does not."""

    def __init__(self, name: str, flaws: Sequence[str]) -> None:
        more = f" (And {len(flaws) - 1} more; `videoqueue validate plugins` lists them.)" if flaws[1:] else ""
        super().__init__(f"Plugin {name!r}: {flaws[0]}{more}")
        self.flaws = tuple(flaws)


class PluginRegistry:
    """Plugins by name: the built-in ones, those of installed packages, and those given by `factories`.

    A name that two of them claim is refused: which one answered would decide the results.
    """

    def __init__(self, options: PluginOptions, factories: Mapping[str, PluginFactory] | None = None) -> None:
        self._options = options
        self._factories = dict(factories or {})
        self._plugins: dict[str, Plugin] = {}
        self._versions: dict[str, Mapping[str, Any]] = {}
        self._making = threading.Lock()

    def get(self, name: str) -> Plugin:
        """The plugin of that name, made at the first call.

        Raises:
            PipelineError: it is not installed, could not be made, or does not keep the contract. What another
                exception said is in the log, not in the text.
            OutOfMemoryError: an allocation failed.
            TransientError: a file of it was changed meanwhile.
            VideoqueueError: raised by the plugin itself, handed on.
        """
        try:
            return self.load(name)
        except PipelineError as error:
            if error.__cause__ is not None:
                logger.error("A plugin cannot be loaded. plugin=%s", name, exc_info=error.__cause__)
            raise

    def load(self, name: str) -> Plugin:
        """As `get`, without a line in the log: for callers who tell the `reason` themselves."""
        with self._making:
            if name not in self._plugins:
                version = PluginVersion(name, _origin(name), self._options.values)
                plugin = self._make(name)
                self._versions[name] = version.of_loaded(plugin.manifest.version)
                self._plugins[name] = plugin
            return self._plugins[name]

    def version(self, name: str) -> Mapping[str, Any]:
        """What decides the results of the plugin of that name, as it is loaded; plain values.

        Raises:
            VideoqueueError: as `load`.
        """
        self.load(name)
        return self._versions[name]

    def manifest(self, name: str) -> Manifest:
        """The manifest of the plugin of that name. The plugin is made only if its factory declares none.

        Raises:
            VideoqueueError: as `load`.
        """
        declared = _declared(self._factory(name))
        if declared is None:
            return self.load(name).manifest
        if flaws := list(manifest_flaws(name, declared)):
            raise FlawedPluginError(name, flaws)
        return declared

    def names(self) -> list[str]:
        """All plugins there are, sorted; some of them may turn out to be broken."""
        return sorted({*BUILT_IN, *self._factories, *entry_points(group=ENTRY_POINT_GROUP).names})

    def _make(self, name: str) -> Plugin:
        factory = self._factory(name)
        try:
            plugin = factory(self._options)
            flaws = list(_flaws(name, plugin, _declared(factory)))
        except (Exception, SystemExit) as error:
            _raise_if_short(name, error)
            if isinstance(error, VideoqueueError):
                raise
            raise PipelineError(
                f"Plugin {name!r} cannot be loaded. The log has the reason; reinstalling it may help."
            ) from error
        if flaws:
            raise FlawedPluginError(name, flaws)
        return plugin

    def _factory(self, name: str) -> PluginFactory:
        installed = entry_points(group=ENTRY_POINT_GROUP, name=name)
        claims = [f"package {found.dist.name if found.dist else found.value}" for found in installed]
        claims += ["built in"] * (name in BUILT_IN) + ["given"] * (name in self._factories)
        if len(claims) > 1:
            raise PipelineError(
                f"{len(claims)} plugins are called {name!r} ({', '.join(sorted(claims))}). "
                "Uninstall all but one, or rename them."
            )
        if not claims:
            raise PipelineError(f"There is no plugin {name!r}. Known plugins: {', '.join(self.names())}.")
        if name in self._factories:
            return self._factories[name]
        try:
            return _imported(BUILT_IN[name]) if name in BUILT_IN else installed[name].load()
        except (Exception, SystemExit) as error:
            _raise_if_short(name, error)
            raise PipelineError(
                f"Plugin {name!r} cannot be imported. The log has the reason; "
                "reinstall it together with what it needs."
            ) from error


def reason(error: VideoqueueError) -> str:
    """What is wrong, with what other code had to say about it: for the operator, not for users."""
    cause = error.__cause__
    return str(error) if cause is None else f"{error} [{type(cause).__name__}: {cause}]"


def _raise_if_short(name: str, error: BaseException) -> None:
    if is_out_of_memory(error):
        raise OutOfMemoryError(f"Plugin {name!r} cannot be loaded: memory ran out.") from error


def _origin(name: str) -> Origin:
    """Where the plugin of that name comes from; nothing is known of one that is given, or not there."""
    if name in BUILT_IN:
        return Origin(BUILT_IN[name].partition(":")[0])
    for found in entry_points(group=ENTRY_POINT_GROUP, name=name):
        return Origin(found.module, found.dist.name if found.dist else None)
    return Origin()


def _imported(target: str) -> PluginFactory:
    module, _, attribute = target.partition(":")
    factory: PluginFactory = getattr(importlib.import_module(module), attribute)
    return factory


def _declared(factory: PluginFactory) -> Manifest | None:
    """The manifest that can be read without making the plugin: a factory's attribute `manifest`.

    A class that is its own factory has it, unless it makes it in `__init__`.
    """
    manifest = getattr(factory, "manifest", None)
    return manifest if isinstance(manifest, Manifest) else None


def _flaws(name: str, plugin: Plugin, declared: Manifest | None) -> Iterator[str]:
    manifest = getattr(plugin, "manifest", None)
    yield from manifest_flaws(name, manifest)
    if not callable(getattr(plugin, "run_tool", None)):
        yield "it has no method run_tool(tool, inputs). Add it."
    # The version may depend on a model that is only known when it is loaded.
    if declared is not None and isinstance(manifest, Manifest) and declared.tools != manifest.tools:
        yield "its factory declares other tools than the plugin has. Declare the same."
