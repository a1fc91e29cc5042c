"""Runs a frame through a pipeline."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from videoqueue.errors import OutOfMemoryError, PermanentError, PipelineError, TransientError
from videoqueue.logs import context
from videoqueue.pipeline.definitions.definition import Node, PipelineDefinition
from videoqueue.pipeline.definitions.faults import listed, raise_first
from videoqueue.pipeline.definitions.links import TIMESTAMP, link_faults
from videoqueue.pipeline.json_values import MAX_DEPTH, check_value
from videoqueue.pipeline.memory import is_out_of_memory
from videoqueue.pipeline.plugin import IMAGE, Plugin, Tool
from videoqueue.pipeline.refusals import refused
from videoqueue.pipeline.registry import PluginRegistry

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

logger = logging.getLogger(__name__)

__all__ = ["TIMESTAMP", "DagPipelineService"]


class DagPipelineService:
    """A pipeline with its plugins loaded.

    Raises:
        PipelineError: A plugin or tool is missing, an input has no source or two, or two output nodes would
            write the same key of the result.
    """

    def __init__(self, definition: PipelineDefinition, registry: PluginRegistry) -> None:
        self._definition = definition
        self._plugins: dict[str, Plugin] = {node.id: registry.get(node.plugin) for node in definition.nodes}
        manifests = {node.plugin: self._plugins[node.id].manifest for node in definition.nodes}
        raise_first(link_faults(definition, manifests, f"Pipeline {definition.id!r}"))
        self._tools: dict[str, Tool] = {
            node.id: manifests[node.plugin].tools[node.tool] for node in definition.nodes
        }

    def run_frame(self, image: npt.NDArray[np.uint8]) -> dict[str, object]:
        """Runs every node on a frame.

        Args:
            image: The upright frame, uint8, (height, width, 3), BGR.

        Returns:
            The outputs of all output nodes in one dict.

        Raises:
            PipelineError: A plugin failed. The text names the node.
            OutOfMemoryError: An allocation failed in a plugin.
            TransientError: A plugin raised it.
        """
        outputs: dict[str, Mapping[str, object]] = {}
        for node in self._definition.nodes:
            given: dict[str, object] = {IMAGE: image}
            for name in self._definition.predecessors(node.id):
                given.update(outputs[name])
            outputs[node.id] = self._run_node(
                node, {name: given[name] for name in self._tools[node.id].inputs}
            )
        result: dict[str, object] = {}
        for name in self._definition.output_nodes:
            result.update(outputs[name])
        return result

    def _run_node(self, node: Node, inputs: Mapping[str, object]) -> Mapping[str, object]:
        with context(node=node.id, plugin=node.plugin, tool=node.tool):
            return self._run_tool(node, inputs)

    def _run_tool(self, node: Node, inputs: Mapping[str, object]) -> Mapping[str, object]:
        try:
            outputs = self._plugins[node.id].run_tool(node.tool, inputs)
        except TransientError:
            raise
        except (Exception, SystemExit) as error:
            if is_out_of_memory(error):
                logger.exception("Memory ran out in a plugin.")
                raise OutOfMemoryError(f"{_step(node)} failed: out of memory.") from error
            if isinstance(error, PermanentError):
                raise PipelineError(f"{_step(node)} failed: {error}") from error
            tried = refused(error)
            logger.exception("A plugin failed.")
            why = f"{_step(node)} failed: {tried}" if tried else f"{_step(node)} failed."
            raise PipelineError(f"{why} The worker's log contains the reason.") from error
        self._check_outputs(node, outputs)
        return outputs

    def _check_outputs(self, node: Node, outputs: Mapping[str, object]) -> None:
        declared = self._tools[node.id].outputs
        if not isinstance(outputs, Mapping) or set(outputs) != set(declared):
            returned = (
                listed(map(str, outputs)) if isinstance(outputs, Mapping) else f"a {type(outputs).__name__}"
            )
            raise PipelineError(
                f"{_step(node)} returned {returned}; its manifest declares {listed(declared)}."
            )
        if node.id in self._definition.output_nodes:
            try:
                check_value(outputs)
                json.dumps(dict(outputs), allow_nan=False)
            except (TypeError, ValueError) as error:
                raise PipelineError(
                    f"{_step(node)} returned a value that JSON cannot represent: it must return plain "
                    f"numbers and texts, whole numbers of at most 64 bits, nested at most {MAX_DEPTH} deep."
                ) from error


def _step(node: Node) -> str:
    return f"Step {node.id!r} (tool {node.tool!r} of plugin {node.plugin!r})"
