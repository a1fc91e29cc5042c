"""Finds plugins by name. Each is loaded when it is first needed, and stays loaded."""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points

from videoqueue.errors import OutOfMemoryError, PipelineError, VideoqueueError
from videoqueue.pipeline.manifest import manifest_faults
from videoqueue.pipeline.memory import is_out_of_memory
from videoqueue.pipeline.plugin import Manifest, Plugin, PluginFactory, PluginOptions
from videoqueue.pipeline.refusals import refused
from videoqueue.pipeline.version.plugins import LoadedVersion, Origin, PluginVersion

logger = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "videoqueue.plugins"
BUILT_IN: Mapping[str, str] = {
    "ocr": "videoqueue.pipeline.plugins.ocr:create",
    "yolo": "videoqueue.pipeline.plugins.yolo:create",
}


class FaultyPluginError(PipelineError):
    """A plugin violates the contract; `faults` has every way in which it does."""

    def __init__(self, name: str, faults: Sequence[str]) -> None:
        more = (
            f" (And {len(faults) - 1} more; `videoqueue validate plugins` lists them.)" if faults[1:] else ""
        )
        super().__init__(f"Plugin {name!r}: {faults[0]}{more}")
        self.faults = tuple(faults)


class PluginRegistry:
    """Plugins by name: the built-in ones, those of installed packages, and those of `factories`.

    A name that two plugins have is rejected, because the results would depend on which one is used.
    """

    def __init__(self, options: PluginOptions, factories: Mapping[str, PluginFactory] | None = None) -> None:
        self._options = options
        self._factories = dict(factories or {})
        self._plugins: dict[str, Plugin] = {}
        self._versions: dict[str, LoadedVersion] = {}
        self._making = threading.Lock()

    def get(self, name: str) -> Plugin:
        """Returns the plugin with that name, and creates it at the first call.

        Raises:
            PipelineError: The plugin is not installed, could not be created, or violates the contract. The
                text of any other exception is in the log only.
            OutOfMemoryError: An allocation failed.
            TransientError: A file of the plugin was changed while it was loaded.
            VideoqueueError: The plugin itself raised it.
        """
        try:
            return self.load(name)
        except PipelineError as error:
            if error.__cause__ is not None:
                logger.error("A plugin cannot be loaded.", exc_info=error.__cause__, extra={"plugin": name})
            raise

    def load(self, name: str) -> Plugin:
        """Returns the same plugin as `get`, but logs nothing: its callers report the `reason` themselves."""
        with self._making:
            if name not in self._plugins:
                version = PluginVersion(name, _origin(name), self._options.values)
                plugin = self._make(name)
                self._versions[name] = version.of_loaded(plugin.manifest.version)
                self._plugins[name] = plugin
            return self._plugins[name]

    def version(self, name: str) -> LoadedVersion:
        """Returns everything that determines the results of the plugin as it is loaded.

        Raises:
            VideoqueueError: As in `load`.
        """
        self.load(name)
        return self._versions[name]

    def manifest(self, name: str) -> Manifest:
        """Returns the manifest of a plugin. The plugin is created only if its factory declares none.

        Raises:
            VideoqueueError: As in `load`.
        """
        declared = _declared(self._factory(name))
        if declared is None:
            return self.load(name).manifest
        if faults := list(manifest_faults(name, declared)):
            raise FaultyPluginError(name, faults)
        return declared

    def names(self) -> list[str]:
        """Returns the names of all plugins, sorted. Loading some of them may fail."""
        return sorted({*BUILT_IN, *self._factories, *entry_points(group=ENTRY_POINT_GROUP).names})

    def _make(self, name: str) -> Plugin:
        factory = self._factory(name)
        try:
            plugin = factory(self._options)
            faults = list(_faults(name, plugin, _declared(factory)))
        except (Exception, SystemExit) as error:
            _raise_if_out_of_memory(name, error)
            if isinstance(error, VideoqueueError):
                raise
            raise PipelineError(_told(name, "loaded", error, "reinstalling it may help")) from error
        if faults:
            raise FaultyPluginError(name, faults)
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
            _raise_if_out_of_memory(name, error)
            raise PipelineError(
                _told(name, "imported", error, "reinstall it together with what it needs")
            ) from error


def reason(error: VideoqueueError) -> str:
    """Returns the error's text with that of its cause, for the operator. Users must not see the cause."""
    cause = error.__cause__
    return str(error) if cause is None else f"{error} [{type(cause).__name__}: {cause}]"


def _raise_if_out_of_memory(name: str, error: BaseException) -> None:
    if is_out_of_memory(error):
        raise OutOfMemoryError(f"Plugin {name!r} cannot be loaded: out of memory.") from error


def _told(name: str, what: str, error: BaseException, remedy: str) -> str:
    tried = refused(error)
    if tried:
        return f"Plugin {name!r} cannot be {what}: {tried} The log contains the reason."
    return f"Plugin {name!r} cannot be {what}. The log contains the reason; {remedy}."


def _origin(name: str) -> Origin:
    """Returns where a plugin comes from; unknown for one of `factories` and for a missing one."""
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
    """Returns the manifest that can be read without creating the plugin: the factory's attribute `manifest`.

    A class that is its own factory has it, unless it sets the manifest in `__init__` only.
    """
    manifest = getattr(factory, "manifest", None)
    return manifest if isinstance(manifest, Manifest) else None


def _faults(name: str, plugin: Plugin, declared: Manifest | None) -> Iterator[str]:
    manifest = getattr(plugin, "manifest", None)
    yield from manifest_faults(name, manifest)
    if not callable(getattr(plugin, "run_tool", None)):
        yield "it has no method run_tool(tool, inputs). Add it."
    # The version may depend on a model that is only known when it is loaded.
    if declared is not None and isinstance(manifest, Manifest) and declared.tools != manifest.tools:
        yield "its factory declares other tools than the plugin has. Declare the same."
