"""Runs one frame through one pipeline."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from videoqueue.errors import PermanentError, PipelineError, TransientError
from videoqueue.pipeline.definition import Node, PipelineDefinition
from videoqueue.pipeline.plugin import Plugin, Tool
from videoqueue.pipeline.registry import PluginRegistry

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

logger = logging.getLogger(__name__)

IMAGE = "image"
# The service adds the frame's time to every result under this name.
TIMESTAMP = "timestamp"


class DagPipelineService:
    """One pipeline with its plugins loaded.

    Raises (when built):
        PipelineError: a plugin or tool is missing, an input comes from nowhere or from two nodes, or two
            output nodes would write the same key of the result.
    """

    def __init__(self, definition: PipelineDefinition, registry: PluginRegistry) -> None:
        self._definition = definition
        self._plugins: dict[str, Plugin] = {}
        self._tools: dict[str, Tool] = {}
        for node in definition.nodes:
            plugin = registry.get(node.plugin)
            self._plugins[node.id] = plugin
            self._tools[node.id] = self._tool(node, plugin)
            self._check_inputs(node)
        self._check_result()

    def run_frame(self, image: npt.NDArray[np.uint8]) -> dict[str, Any]:
        """Runs every node on the frame and returns the merged outputs of the output nodes.

        Args:
            image: the upright frame, uint8, (height, width, 3), BGR.

        Raises:
            PipelineError: a plugin failed; the text names the step.
            TransientError: raised by a plugin, handed on.
        """
        outputs: dict[str, Mapping[str, Any]] = {}
        for node in self._definition.nodes:
            given: dict[str, Any] = {IMAGE: image}
            for name in self._definition.predecessors(node.id):
                given.update(outputs[name])
            outputs[node.id] = self._run_node(
                node, {name: given[name] for name in self._tools[node.id].inputs}
            )
        result: dict[str, Any] = {}
        for name in self._definition.output_nodes:
            result.update(outputs[name])
        return result

    def _run_node(self, node: Node, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            outputs = self._plugins[node.id].run_tool(node.tool, inputs)
        except TransientError:
            raise
        except PermanentError as error:
            raise PipelineError(f"{_step(node)} failed: {error}") from error
        except Exception as error:
            logger.exception(
                "plugin failed", extra={"node": node.id, "plugin": node.plugin, "tool": node.tool}
            )
            raise PipelineError(f"{_step(node)} failed. The worker's log has the reason.") from error
        self._check_outputs(node, outputs)
        return outputs

    def _check_outputs(self, node: Node, outputs: Mapping[str, Any]) -> None:
        promised = self._tools[node.id].outputs
        if set(outputs) != set(promised):
            raise PipelineError(
                f"{_step(node)} gave {_listed(outputs)}; its manifest promises {_listed(promised)}."
            )
        if node.id in self._definition.output_nodes:
            try:
                json.dumps(dict(outputs), allow_nan=False)
            except (TypeError, ValueError) as error:
                raise PipelineError(
                    f"{_step(node)} gave a value that JSON cannot hold: it must give plain numbers and texts."
                ) from error

    def _tool(self, node: Node, plugin: Plugin) -> Tool:
        tools = plugin.manifest.tools
        if node.tool not in tools:
            raise self._flaw(
                node, f"plugin {node.plugin!r} has no tool {node.tool!r}. It has {_listed(tools)}."
            )
        return tools[node.tool]

    def _check_inputs(self, node: Node) -> None:
        available = {IMAGE: "image"}
        for name in self._definition.predecessors(node.id):
            offered = self._tools[name].outputs
            twice = set(available) & set(offered) & set(self._tools[node.id].inputs)
            if twice:
                raise self._flaw(node, f"it gets {_listed(twice)} from more than one place. Remove an edge.")
            available.update(offered)
        for key, kind in self._tools[node.id].inputs.items():
            if available.get(key) != kind:
                got = f"gets {available[key]!r}" if key in available else "no node before it gives one"
                raise self._flaw(
                    node, f"it needs {key!r} of type {kind!r}, but {got}. Add the edge it lacks."
                )

    def _check_result(self) -> None:
        writers: dict[str, str] = {IMAGE: "the frame", TIMESTAMP: "the frame"}
        for node in self._definition.nodes:
            if node.id not in self._definition.output_nodes:
                continue
            for key in self._tools[node.id].outputs:
                if key in writers:
                    raise self._flaw(
                        node, f"it writes {key!r}, and so does {writers[key]}. Keep one output node of both."
                    )
                writers[key] = f"node {node.id!r}"

    def _flaw(self, node: Node, what: str) -> PipelineError:
        return PipelineError(f"Pipeline {self._definition.id!r}, node {node.id!r}: {what}")


def _step(node: Node) -> str:
    return f"Step {node.id!r} (tool {node.tool!r} of plugin {node.plugin!r})"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names)) or "nothing"
