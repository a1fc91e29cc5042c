"""Checks a pipeline against its plugins' manifests: tools, inputs, keys of the result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from videoqueue.pipeline.definitions.definition import Node, PipelineDefinition
from videoqueue.pipeline.definitions.faults import Fault, listed
from videoqueue.pipeline.definitions.fields import at_node, repeated
from videoqueue.pipeline.manifest import IMAGE
from videoqueue.pipeline.plugin import Manifest, Tool

#: The service adds the frame's time to every result under this name.
TIMESTAMP = "timestamp"


def link_faults(
    pipeline: PipelineDefinition, manifests: Mapping[str, Manifest], where: str, connected: bool = True
) -> Iterator[Fault]:
    """Every fault of the tools and of what flows between them.

    Args:
        manifests: by plugin. A node whose plugin is not among them is passed over, and so is what needs it.
        connected: False when some edges could not be read; then what flows along them is not checked.
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
    givers: dict[str, dict[str, str]] = {IMAGE: {"the frame": IMAGE}}
    for name in dict.fromkeys(pipeline.predecessors(node.id)):
        for key, type_name in tools[name].outputs.items():
            givers.setdefault(key, {})[f"node {name!r}"] = type_name
    for key, wanted in tools[node.id].inputs.items():
        given = givers.get(key, {})
        if len(given) > 1:
            what = f"it gets {key!r} from more than one place: {', '.join(given)}. Remove an edge."
            yield Fault(at_node(where, node.id), what)
        elif wanted not in given.values():
            got = "".join(f"{giver} gives {type_name!r}" for giver, type_name in given.items())
            what = f"it needs {key!r} of type {wanted!r}, but {got or 'no node before it gives one'}. "
            yield Fault(at_node(where, node.id), f"{what}Lead an edge from a tool that gives it.")


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
                    "Take one of them out of output_nodes.",
                )
            writers.setdefault(key, f"node {node.id!r}")
