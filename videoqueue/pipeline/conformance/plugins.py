"""Checks plugins: loads each, reads its manifest and calls its tools on test frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

from videoqueue.errors import VideoqueueError
from videoqueue.pipeline.conformance.frames import TrialFrame, trial_frames
from videoqueue.pipeline.conformance.known_types import KNOWN_TYPES, fingerprint
from videoqueue.pipeline.conformance.trial import Case, ToolTrial
from videoqueue.pipeline.definitions.faults import Fault
from videoqueue.pipeline.plugin import Plugin, Tool
from videoqueue.pipeline.registry import FaultyPluginError, PluginRegistry, reason


@dataclass(frozen=True)
class PluginReport:
    """The result of checking one plugin. `version` and `tools` are empty if it cannot be loaded.

    `notes` are not faults: they name tools that were not called because there is no input for them.
    """

    name: str
    version: str = ""
    tools: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    notes: tuple[Fault, ...] = ()


def check_plugins(registry: PluginRegistry, names: Sequence[str] = ()) -> list[PluginReport]:
    """Checks the named plugins, or all plugins if none is named. Loads every model.

    Returns:
        A report for each plugin.
    """
    loaded: dict[str, Plugin] = {}
    broken: dict[str, PluginReport] = {}
    asked = list(dict.fromkeys(names)) or registry.names()
    for name in asked:
        try:
            loaded[name] = registry.load(name)
        except FaultyPluginError as error:
            faults = tuple(Fault(f"Plugin {name!r}", fault) for fault in error.faults)
            broken[name] = PluginReport(name, faults=faults)
        except VideoqueueError as error:
            broken[name] = PluginReport(name, faults=(Fault("", reason(error)),))
    inputs = _Inputs(loaded)
    return [broken[name] if name in broken else _tried(name, loaded[name], inputs) for name in asked]


class _NoInputError(Exception):
    """There is no value of that type."""


class _Inputs:
    """Values for the inputs of tools: the frame, examples of known types, or the outputs of other tools."""

    def __init__(self, plugins: Mapping[str, Plugin]) -> None:
        self._plugins = plugins
        self.frames = trial_frames()

    def case(self, tool: Tool, frame: TrialFrame) -> Case:
        """Returns the case, or raises _NoInputError with the type name for which there is no value."""
        return Case(frame, self._inputs(tool, frame, ()))

    def _inputs(self, tool: Tool, frame: TrialFrame, above: tuple[Tool, ...]) -> dict[str, object]:
        return {key: self._value(type_name, frame, above) for key, type_name in tool.inputs.items()}

    def _value(self, type_name: str, frame: TrialFrame, above: tuple[Tool, ...]) -> object:
        if type_name in KNOWN_TYPES:
            return KNOWN_TYPES[type_name].example(frame.image, not frame.empty)
        for value in self._outputs(type_name, frame, above):
            if fingerprint(value) is not None:
                return value
        raise _NoInputError(type_name)

    def _outputs(self, type_name: str, frame: TrialFrame, above: tuple[Tool, ...]) -> Iterator[object]:
        """Calls the tools that return the type, except those whose input is wanted (`above`)."""
        for plugin in self._plugins.values():
            for name, tool in plugin.manifest.tools.items():
                keys = [key for key, offered in tool.outputs.items() if offered == type_name]
                if not keys or tool in above:
                    continue
                try:
                    outputs = plugin.run_tool(name, deepcopy(self._inputs(tool, frame, (*above, tool))))
                    yield from (outputs[key] for key in keys)
                except (Exception, SystemExit):  # noqa: BLE001, S112 - its own check reports the fault
                    continue


def _tried(name: str, plugin: Plugin, inputs: _Inputs) -> PluginReport:
    manifest = plugin.manifest
    faults: list[Fault] = []
    notes: list[Fault] = []
    for tool_name, tool in manifest.tools.items():
        where = f"Plugin {name!r}, tool {tool_name!r}"
        try:
            cases = [inputs.case(tool, frame) for frame in inputs.frames]
        except _NoInputError as error:
            what = (
                f"not tried: no tool returns an input of type {str(error)!r}. Validate it with one that does."
            )
            notes.append(Fault(where, what))
            continue
        faults += ToolTrial(where, plugin, tool_name, tool).faults(cases)
    return PluginReport(name, manifest.version, tuple(manifest.tools), tuple(faults), tuple(notes))
