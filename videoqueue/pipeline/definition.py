"""Pipeline definitions: JSON files that say which plugin tools look at a frame, and in which order.

    {"id": "ocr_only", "description": "Reads the text in every frame.",
     "nodes": [{"id": "read_text", "plugin": "ocr", "tool": "read"}], "edges": [],
     "entry_nodes": ["read_text"], "output_nodes": ["read_text"]}

An edge {"from": a, "to": b} hands the outputs of node a to node b. Everything here can be checked without
loading a plugin; whether the tools exist and fit together is checked when a pipeline first runs.
"""

from __future__ import annotations

import graphlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videoqueue.errors import PipelineError, UnknownPipelineError

BUILT_IN_FOLDER = Path(__file__).parent / "definitions"
_FIELDS = ("id", "description", "nodes", "edges", "entry_nodes", "output_nodes")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Node:
    id: str
    plugin: str
    tool: str


@dataclass(frozen=True)
class Edge:
    source: str
    target: str


@dataclass(frozen=True)
class PipelineDefinition:
    """A checked pipeline; `nodes` are in the order in which they run."""

    id: str
    description: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    entry_nodes: tuple[str, ...]
    output_nodes: tuple[str, ...]

    def predecessors(self, node_id: str) -> tuple[str, ...]:
        return tuple(edge.source for edge in self.edges if edge.target == node_id)


def load_definitions(*folders: Path) -> dict[str, PipelineDefinition]:
    """Reads the built-in pipelines and every `*.json` of the given folders, by id.

    Raises:
        PipelineError: a folder is missing, a file is wrong, or two files claim one id.
    """
    definitions: dict[str, PipelineDefinition] = {}
    for folder in (BUILT_IN_FOLDER, *folders):
        if not folder.is_dir():
            raise PipelineError(
                f"There is no folder {folder} to read pipelines from: create it or name another."
            )
        for file in sorted(folder.glob("*.json")):
            definition = load_definition(file)
            if definition.id in definitions:
                raise PipelineError(
                    f"Pipeline file {file.name}: the id {definition.id!r} is taken. Rename file and id."
                )
            definitions[definition.id] = definition
    return definitions


def load_definition(file: Path) -> PipelineDefinition:
    """Reads and checks one pipeline file.

    Raises:
        PipelineError: the one line names the file, the node and what to change.
    """
    try:
        definition = parse(json.loads(file.read_text(encoding="utf-8")))
        if definition.id != file.stem:
            raise _FlawError(f"its id is {definition.id!r}. Give file and id the same name.")
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, _FlawError) else f"it is no valid JSON ({error})."
        raise PipelineError(f"Pipeline file {file.name}: {reason}") from None
    except OSError as error:
        raise PipelineError(f"Pipeline file {file.name} cannot be read: {error.strerror}.") from error
    return definition


def find(definitions: Mapping[str, PipelineDefinition], pipeline_id: str) -> PipelineDefinition:
    """The pipeline of that id.

    Raises:
        UnknownPipelineError: there is none; the text lists those there are.
    """
    if pipeline_id not in definitions:
        known = ", ".join(sorted(definitions)) or "none"
        raise UnknownPipelineError(f"There is no pipeline {pipeline_id[:64]!r}. Known pipelines: {known}.")
    return definitions[pipeline_id]


class _FlawError(ValueError):
    """Something wrong inside a definition; `load_definition` adds the file's name."""


def parse(document: Any) -> PipelineDefinition:
    """Checks a definition and puts its nodes in order; a flaw is a ValueError."""
    _check_fields(document, _FIELDS, "it")
    nodes = [_node(entry) for entry in _list(document, "nodes")]
    edges = [_edge(entry) for entry in _list(document, "edges")]
    names = [node.id for node in nodes]
    if not nodes:
        raise _FlawError("it has no nodes. Add at least one.")
    _check_unique(names, "node")
    _check_known(names, (end for edge in edges for end in (edge.source, edge.target)), "edges")
    _check_unique([f"{edge.source} -> {edge.target}" for edge in edges], "edge")
    order = _order(names, edges)
    by_id = {node.id: node for node in nodes}
    definition = PipelineDefinition(
        id=_name(document["id"], "the id"),
        description=_text(document["description"], "the description"),
        nodes=tuple(by_id[name] for name in order),
        edges=tuple(edges),
        entry_nodes=tuple(_text(name, "an entry node") for name in _list(document, "entry_nodes")),
        output_nodes=tuple(_text(name, "an output node") for name in _list(document, "output_nodes")),
    )
    _check_ends(definition, names)
    return definition


def _node(entry: Any) -> Node:
    _check_fields(entry, ("id", "plugin", "tool"), "a node")
    name = _name(entry["id"], "a node's id")
    return Node(
        name, _name(entry["plugin"], f"node {name!r}: plugin"), _name(entry["tool"], f"node {name!r}: tool")
    )


def _edge(entry: Any) -> Edge:
    _check_fields(entry, ("from", "to"), "an edge")
    return Edge(_text(entry["from"], "an edge's 'from'"), _text(entry["to"], "an edge's 'to'"))


def _order(names: list[str], edges: Iterable[Edge]) -> list[str]:
    sorter: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter({name: () for name in names})
    for edge in edges:
        sorter.add(edge.target, edge.source)
    try:
        return list(sorter.static_order())
    except graphlib.CycleError as error:
        raise _FlawError(
            f"its nodes run in a circle: {' -> '.join(error.args[1])}. Remove one of these edges."
        ) from None


def _check_ends(definition: PipelineDefinition, names: list[str]) -> None:
    for field, listed in (("entry_nodes", definition.entry_nodes), ("output_nodes", definition.output_nodes)):
        _check_known(names, listed, field)
        _check_unique(listed, f"name in {field}")
    entries = {name for name in names if not definition.predecessors(name)}
    for name in sorted(entries ^ set(definition.entry_nodes)):
        change = "list it in entry_nodes" if name in entries else "take it out of entry_nodes"
        raise _FlawError(f"node {name!r} has {'no' if name in entries else 'an'} incoming edge: {change}.")
    used = set(definition.output_nodes)
    for node in reversed(definition.nodes):
        if node.id not in used:
            raise _FlawError(
                f"node {node.id!r} leads to no output node. List it in output_nodes, or remove it."
            )
        used.update(definition.predecessors(node.id))


def _check_known(names: list[str], used: Iterable[str], field: str) -> None:
    for name in used:
        if name not in names:
            raise _FlawError(
                f"{field} names the node {name!r}, which is not in nodes. Known nodes: {', '.join(names)}."
            )


def _check_unique(names: Iterable[str], what: str) -> None:
    name, count = Counter(names).most_common(1)[0] if names else ("", 0)
    if count > 1:
        raise _FlawError(f"the {what} {name!r} appears {count} times. Keep one.")


def _check_fields(entry: Any, fields: tuple[str, ...], what: str) -> None:
    if not isinstance(entry, dict):
        raise _FlawError(f"{what} must be a JSON object with {', '.join(fields)}.")
    for name in fields:
        if name not in entry:
            raise _FlawError(f"{what} has no {name!r}. Add it.")
    for name in entry:
        if name not in fields:
            raise _FlawError(f"{what} has an unknown field {name!r}. It takes {', '.join(fields)}.")


def _list(document: dict[str, Any], field: str) -> list[Any]:
    entries = document[field]
    if not isinstance(entries, list):
        raise _FlawError(f"{field} must be a list.")
    return entries


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise _FlawError(f"{what} must be a text, not {value!r}.")
    return value


def _name(value: Any, what: str) -> str:
    if not _NAME.fullmatch(_text(value, what)):
        raise _FlawError(
            f"{what} is {value!r}: it takes 1 to 64 letters, digits, '_' and '-', not '_' or '-' first."
        )
    return str(value)
