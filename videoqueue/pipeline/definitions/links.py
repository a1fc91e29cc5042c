"""Checks a pipeline against the manifests of its plugins: tools, inputs, keys of the result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from videoqueue.pipeline.definitions.definition import Node, PipelineDefinition
from videoqueue.pipeline.definitions.faults import Fault, listed
from videoqueue.pipeline.definitions.fields import at_node, repeated
from videoqueue.pipeline.plugin import IMAGE, Manifest, Tool

#: The key under which the service adds the frame's time to every result.
TIMESTAMP = "timestamp"


def link_faults(
    pipeline: PipelineDefinition, manifests: Mapping[str, Manifest], where: str, connected: bool = True
) -> Iterator[Fault]:
    """Checks the tools of a pipeline and the values that pass between them.

    Args:
        pipeline: The pipeline.
        manifests: The manifests by plugin name. Nodes of other plugins are skipped, and so are nodes that
            need their outputs.
        where: The file, for the faults.
        connected: False if some edges could not be read. Inputs are not checked then.

    Returns:
        Every fault.
    """
    tools: dict[str, Tool] = {}
    for node in pipeline.nodes:
        if not node.tool or node.plugin not in manifests:
            continue
        offered = manifests[node.plugin].tools
        if node.tool in offered:
            tools[node.id] = offered[node.tool]
        else:
            yield Fault(
                at_node(where, node.id),
                f"plugin {node.plugin!r} has no tool {node.tool!r}. It has {listed(offered)}.",
            )
    for name in repeated(node.id for node in pipeline.nodes):
        tools.pop(name, None)
    if connected:
        for node in pipeline.nodes:
            if {node.id, *pipeline.predecessors(node.id)} <= set(tools):
                yield from _input_faults(pipeline, node, tools, where)
    yield from _result_faults(pipeline, tools, where)


def _input_faults(
    pipeline: PipelineDefinition, node: Node, tools: Mapping[str, Tool], where: str
) -> Iterator[Fault]:
    sources: dict[str, dict[str, str]] = {IMAGE: {"the frame": IMAGE}}
    for name in dict.fromkeys(pipeline.predecessors(node.id)):
        for key, type_name in tools[name].outputs.items():
            sources.setdefault(key, {})[f"node {name!r}"] = type_name
    for key, wanted in tools[node.id].inputs.items():
        given = sources.get(key, {})
        if len(given) > 1:
            what = f"it gets {key!r} from more than one place: {', '.join(given)}. Remove an edge."
            yield Fault(at_node(where, node.id), what)
        elif wanted not in given.values():
            got = "".join(f"{source} returns {type_name!r}" for source, type_name in given.items())
            what = f"it needs {key!r} of type {wanted!r}, but {got or 'no node before it returns one'}. "
            yield Fault(at_node(where, node.id), f"{what}Add an edge from a tool that returns it.")


def _result_faults(pipeline: PipelineDefinition, tools: Mapping[str, Tool], where: str) -> Iterator[Fault]:
    writers = {IMAGE: "the frame", TIMESTAMP: "the frame"}
    for node in pipeline.nodes:
        if node.id not in pipeline.output_nodes or node.id not in tools:
            continue
        for key in tools[node.id].outputs:
            if key in writers:
                yield Fault(
                    at_node(where, node.id),
                    f"it writes {key!r} into the result, and so does {writers[key]}. "
                    "Remove one of them from output_nodes.",
                )
            writers.setdefault(key, f"node {node.id!r}")
