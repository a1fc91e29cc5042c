"""Checks plugins: loads each, reads its manifest and tries its tools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from videoqueue.errors import VideoqueueError
from videoqueue.pipeline.conformance.frames import TrialFrame, trial_frames
from videoqueue.pipeline.conformance.trial import Case, ToolTrial
from videoqueue.pipeline.conformance.values import KNOWN_TYPES, fingerprint
from videoqueue.pipeline.definitions.faults import Fault
from videoqueue.pipeline.plugin import Plugin, Tool
from videoqueue.pipeline.registry import FlawedPluginError, PluginRegistry, reason


@dataclass(frozen=True)
class PluginReport:
    """What was found about one plugin. `version` and `tools` are empty if it cannot be loaded.

    `notes` are no faults: tools that were not tried, as no input could be had for them.
    """

    name: str
    version: str = ""
    tools: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    notes: tuple[Fault, ...] = ()


def check_plugins(registry: PluginRegistry, names: Sequence[str] = ()) -> list[PluginReport]:
    """Checks the named plugins, or all there are; every model is loaded."""
    loaded: dict[str, Plugin] = {}
    broken: dict[str, PluginReport] = {}
    asked = list(dict.fromkeys(names)) or registry.names()
    for name in asked:
        try:
            loaded[name] = registry.load(name)
        except FlawedPluginError as error:
            faults = tuple(Fault(f"Plugin {name!r}", flaw) for flaw in error.flaws)
            broken[name] = PluginReport(name, faults=faults)
        except VideoqueueError as error:
            broken[name] = PluginReport(name, faults=(Fault("", reason(error)),))
    inputs = _Inputs(loaded)
    return [broken[name] if name in broken else _tried(name, loaded[name], inputs) for name in asked]


class _NoInputError(Exception):
    """Nothing gives a value of that type."""


class _Inputs:
    """Values for the inputs of tools: the frame, examples of known types, else what other tools give."""

    def __init__(self, plugins: Mapping[str, Plugin]) -> None:
        self._plugins = plugins
        self.frames = trial_frames()

    def case(self, tool: Tool, frame: TrialFrame) -> Case:
        """Raises _NoInputError with the type name for which there is no value."""
        return Case(frame, self._inputs(tool, frame, ()))

    def _inputs(self, tool: Tool, frame: TrialFrame, above: tuple[Tool, ...]) -> dict[str, Any]:
        return {key: self._value(type_name, frame, above) for key, type_name in tool.inputs.items()}

    def _value(self, type_name: str, frame: TrialFrame, above: tuple[Tool, ...]) -> Any:
        if type_name in KNOWN_TYPES:
            return KNOWN_TYPES[type_name].example(frame.image, not frame.empty)
        for value in self._given(type_name, frame, above):
            if fingerprint(value) is not None:
                return value
        raise _NoInputError(type_name)

    def _given(self, type_name: str, frame: TrialFrame, above: tuple[Tool, ...]) -> Iterator[Any]:
        """Runs the tools that give the type, but none in order to feed itself (`above`)."""
        for plugin in self._plugins.values():
            for name, tool in plugin.manifest.tools.items():
                keys = [key for key, offered in tool.outputs.items() if offered == type_name]
                if not keys or tool in above:
                    continue
                try:
                    outputs = plugin.run_tool(name, deepcopy(self._inputs(tool, frame, (*above, tool))))
                    yield from (outputs[key] for key in keys)
                except (Exception, SystemExit):  # noqa: BLE001, S112 - its own trial tells what is wrong with it
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
                f"not tried: no tool gives an input of type {str(error)!r}. Validate it with one that does."
            )
            notes.append(Fault(where, what))
            continue
        faults += ToolTrial(where, plugin, tool_name, tool).faults(cases)
    return PluginReport(name, manifest.version, tuple(manifest.tools), tuple(faults), tuple(notes))
