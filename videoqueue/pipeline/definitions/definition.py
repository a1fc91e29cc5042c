"""Pipeline definitions: JSON files that say which plugin tools look at a frame, and in which order.

    {"id": "ocr_only", "description": "Reads the text in every frame.",
     "nodes": [{"id": "read_text", "plugin": "ocr", "tool": "read"}], "edges": [],
     "entry_nodes": ["read_text"], "output_nodes": ["read_text"]}

An edge {"from": a, "to": b} hands the outputs of node a to node b. Everything here is checked without
importing a plugin; whether the tools exist and fit together is what `validation` checks.
"""

from __future__ import annotations

import graphlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from videoqueue.errors import UnknownPipelineError
from videoqueue.pipeline.definitions.faults import Fault, raise_first
from videoqueue.pipeline.definitions.fields import NAME, FieldReader
from videoqueue.pipeline.definitions.graph import graph_faults, is_connected

BUILT_IN_FOLDER = Path(__file__).parent / "built_in"
_FIELDS = ("id", "description", "nodes", "edges", "entry_nodes", "output_nodes")


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


@dataclass(frozen=True)
class Draft:
    """A pipeline as a file has it. With `faults`, `pipeline` holds what could be read, in the file's order.

    `connected`: all nodes and edges could be read and have their ends, so that what flows can be followed.
    """

    where: str
    pipeline: PipelineDefinition
    faults: tuple[Fault, ...]
    connected: bool


def load_definitions(*folders: Path) -> dict[str, PipelineDefinition]:
    """Reads the built-in pipelines and every `*.json` of the given folders, by id.

    Raises:
        PipelineError: a folder is missing, a file is wrong, or two files claim one id. It is the first fault
            of them; its one line names the file, the node and what to change.
    """
    definitions = {}
    for draft in read_drafts(*folders):
        raise_first(draft.faults)
        definitions[draft.pipeline.id] = draft.pipeline
    return definitions


def read_drafts(*folders: Path) -> Iterator[Draft]:
    """Reads what `load_definitions` reads, and goes on where something is wrong."""
    taken: set[str] = set()
    for folder in (BUILT_IN_FOLDER, *folders):
        if not folder.is_dir():
            problem = "there is no folder of this name to read pipelines from. Create it, or name another."
            yield _nothing(f"Folder {folder}", problem)
        for file in sorted(folder.glob("*.json")):
            yield _read_file(file, taken)
            taken.add(file.stem)


def find(definitions: Mapping[str, PipelineDefinition], pipeline_id: str) -> PipelineDefinition:
    """The pipeline of that id.

    Raises:
        UnknownPipelineError: there is none; the text lists those there are.
    """
    if pipeline_id not in definitions:
        known = ", ".join(sorted(definitions)) or "none"
        raise UnknownPipelineError(f"There is no pipeline {pipeline_id[:64]!r}. Known pipelines: {known}.")
    return definitions[pipeline_id]


def parse(document: Any) -> PipelineDefinition:
    """A definition from parsed JSON.

    Raises:
        PipelineError: the first fault of it.
    """
    draft = _read(document, FieldReader("The pipeline"))
    raise_first(draft.faults)
    return draft.pipeline


def file_name(pipeline_id: str) -> str:
    """The file in which a pipeline is defined, as a fault's line names it."""
    return f"Pipeline file {pipeline_id}.json"


def _read_file(file: Path, taken: set[str]) -> Draft:
    reader = FieldReader(file_name(file.stem))
    try:
        document = reader.document(file.read_bytes())
    except OSError as error:
        return _nothing(reader.where, f"it cannot be read ({error.strerror}). Correct that, or remove it.")
    except (ValueError, RecursionError) as error:
        return _nothing(reader.where, f"it is no valid JSON ({error}). Correct it.")
    if file.stem in taken:
        reader.report(f"the id {file.stem!r} is taken by another file. Rename file and id.")
    return _read(document, reader, file.stem)


def _nothing(where: str, what: str) -> Draft:
    nothing = PipelineDefinition("", "", (), (), (), ())
    return Draft(where, nothing, (Fault(where, what),), connected=False)


def _read(document: Any, reader: FieldReader, stem: str | None = None) -> Draft:
    given = reader.fields(document, _FIELDS, "it")
    name = reader.name(given, "id", "the id")
    if name is not None and stem is not None and name != stem:
        reader.report(f"its id is {name!r}. Give file and id the same name.")
    description = reader.text(given, "description", "the description")
    node_entries, edge_entries = reader.entries(given, "nodes"), reader.entries(given, "edges")
    nodes = tuple(_node(entry, number, reader) for number, entry in enumerate(node_entries or (), 1))
    edges = tuple(_edge(entry, number, reader) for number, entry in enumerate(edge_entries or (), 1))
    entries, outputs = reader.texts(given, "entry_nodes"), reader.texts(given, "output_nodes")
    names = None if node_entries is None else [node.id for node in nodes]
    pairs = None if edge_entries is None else [(edge.source, edge.target) for edge in edges]
    faults = (*reader.faults, *graph_faults(reader.where, names, pairs, entries, outputs))
    pipeline = PipelineDefinition(name or "", description or "", nodes, edges, entries or (), outputs or ())
    if not faults:
        pipeline = replace(pipeline, nodes=_in_order(pipeline))
    return Draft(reader.where, pipeline, faults, is_connected(names, pairs))


def _node(entry: Any, number: int, reader: FieldReader) -> Node:
    """What could not be read of it is an empty text."""
    name = entry.get("id") if isinstance(entry, dict) else None
    what = f"node {name!r}" if isinstance(name, str) and NAME.fullmatch(name) else f"node number {number}"
    given = reader.fields(entry, ("id", "plugin", "tool"), what)
    return Node(
        reader.name(given, "id", f"{what}: its id") or "",
        reader.name(given, "plugin", f"{what}: plugin") or "",
        reader.name(given, "tool", f"{what}: tool") or "",
    )


def _edge(entry: Any, number: int, reader: FieldReader) -> Edge:
    """What could not be read of it is an empty text."""
    what = f"edge number {number}"
    given = reader.fields(entry, ("from", "to"), what)
    source, target = (reader.text(given, end, f"{what}: its {end!r}") for end in ("from", "to"))
    return Edge(source or "", target or "")


def _in_order(pipeline: PipelineDefinition) -> tuple[Node, ...]:
    sorter: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter(
        {node.id: pipeline.predecessors(node.id) for node in pipeline.nodes}
    )
    by_id = {node.id: node for node in pipeline.nodes}
    return tuple(by_id[name] for name in sorter.static_order())
