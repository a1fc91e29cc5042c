"""Runs one frame through one pipeline."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from videoqueue.errors import OutOfMemoryError, PermanentError, PipelineError, TransientError
from videoqueue.pipeline.definitions.definition import Node, PipelineDefinition
from videoqueue.pipeline.definitions.faults import listed, raise_first
from videoqueue.pipeline.definitions.links import TIMESTAMP, link_faults
from videoqueue.pipeline.json_values import MOST_LEVELS, check_value
from videoqueue.pipeline.manifest import IMAGE
from videoqueue.pipeline.memory import is_out_of_memory
from videoqueue.pipeline.plugin import Plugin, Tool
from videoqueue.pipeline.registry import PluginRegistry

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

logger = logging.getLogger(__name__)

__all__ = ["TIMESTAMP", "DagPipelineService"]


class DagPipelineService:
    """One pipeline with its plugins loaded.

    Raises (when built):
        PipelineError: a plugin or tool is missing, an input comes from nowhere or from two nodes, or two
            output nodes would write the same key of the result.
    """

    def __init__(self, definition: PipelineDefinition, registry: PluginRegistry) -> None:
        self._definition = definition
        self._plugins: dict[str, Plugin] = {node.id: registry.get(node.plugin) for node in definition.nodes}
        manifests = {node.plugin: self._plugins[node.id].manifest for node in definition.nodes}
        raise_first(link_faults(definition, manifests, f"Pipeline {definition.id!r}"))
        self._tools: dict[str, Tool] = {
            node.id: manifests[node.plugin].tools[node.tool] for node in definition.nodes
        }

    def run_frame(self, image: npt.NDArray[np.uint8]) -> dict[str, Any]:
        """Runs every node on the frame and returns the merged outputs of the output nodes.

        Args:
            image: the upright frame, uint8, (height, width, 3), BGR.

        Raises:
            PipelineError: a plugin failed; the text names the step.
            OutOfMemoryError: an allocation failed in a plugin.
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
        except (Exception, SystemExit) as error:
            if is_out_of_memory(error):
                _log_failure(node, "Memory ran out in a plugin.")
                raise OutOfMemoryError(f"{_step(node)} failed: memory ran out.") from error
            if isinstance(error, PermanentError):
                raise PipelineError(f"{_step(node)} failed: {error}") from error
            _log_failure(node, "A plugin failed.")
            raise PipelineError(f"{_step(node)} failed. The worker's log has the reason.") from error
        self._check_outputs(node, outputs)
        return outputs

    def _check_outputs(self, node: Node, outputs: Mapping[str, Any]) -> None:
        promised = self._tools[node.id].outputs
        if not isinstance(outputs, Mapping) or set(outputs) != set(promised):
            given = (
                listed(map(str, outputs)) if isinstance(outputs, Mapping) else f"a {type(outputs).__name__}"
            )
            raise PipelineError(f"{_step(node)} gave {given}; its manifest promises {listed(promised)}.")
        if node.id in self._definition.output_nodes:
            try:
                check_value(outputs)
                json.dumps(dict(outputs), allow_nan=False)
            except (TypeError, ValueError) as error:
                raise PipelineError(
                    f"{_step(node)} gave a value that JSON cannot hold: it must give plain numbers and "
                    f"texts, whole numbers of at most 64 bits, nested at most {MOST_LEVELS} deep."
                ) from error


def _log_failure(node: Node, what: str) -> None:
    """Logs the exception being handled; the worker adds job and attempt to each of its lines."""
    logger.exception("%s node=%s plugin=%s tool=%s", what, node.id, node.plugin, node.tool)


def _step(node: Node) -> str:
    return f"Step {node.id!r} (tool {node.tool!r} of plugin {node.plugin!r})"
