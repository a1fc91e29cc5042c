"""Pipeline definitions: JSON files that say which tools of plugins process a frame, and in which order.

    {"id": "ocr_only", "description": "Reads the text in every frame.",
     "nodes": [{"id": "read_text", "plugin": "ocr", "tool": "read"}], "edges": [],
     "entry_nodes": ["read_text"], "output_nodes": ["read_text"]}

An edge {"from": a, "to": b} passes the outputs of node a to node b. This module imports no plugin;
`conformance` checks whether the tools exist and fit together.
"""

from __future__ import annotations

import graphlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from videoqueue.errors import UnknownPipelineError
from videoqueue.pipeline.definitions.faults import Fault, raise_first
from videoqueue.pipeline.definitions.fields import NAME, FieldReader
from videoqueue.pipeline.definitions.graph import graph_faults, is_connected

BUILT_IN_FOLDER = Path(__file__).parent / "built_in"
_FIELDS = ("id", "description", "nodes", "edges", "entry_nodes", "output_nodes")


@dataclass(frozen=True)
class Node:
    """One tool of one plugin; `id` is unique in its pipeline."""

    id: str
    plugin: str
    tool: str


@dataclass(frozen=True)
class Edge:
    """Passes the outputs of the node `source` to the node `target`."""

    source: str
    target: str


@dataclass(frozen=True)
class PipelineDefinition:
    """A pipeline. Once it is checked, `nodes` are in the order in which they run."""

    id: str
    description: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    entry_nodes: tuple[str, ...]
    output_nodes: tuple[str, ...]

    def predecessors(self, node_id: str) -> tuple[str, ...]:
        """Returns the ids of the nodes whose outputs a node gets."""
        return tuple(edge.source for edge in self.edges if edge.target == node_id)


@dataclass(frozen=True)
class Draft:
    """The content of one pipeline file.

    Attributes:
        where: The file, as faults name it.
        pipeline: The pipeline. If there are faults, it holds what could be read, in the file's order.
        faults: What is wrong with the file.
        connected: Whether all nodes and edges could be read and each edge joins two existing nodes.
    """

    where: str
    pipeline: PipelineDefinition
    faults: tuple[Fault, ...]
    connected: bool


def load_definitions(*folders: Path) -> dict[str, PipelineDefinition]:
    """Reads the built-in pipelines and every `*.json` of the given folders.

    Returns:
        The pipelines by id.

    Raises:
        PipelineError: A folder is missing, a file has a fault, or two files have the same id. The text is the
            first fault in one line: the file, the node and what to change.
    """
    definitions = {}
    for draft in read_drafts(*folders):
        raise_first(draft.faults)
        definitions[draft.pipeline.id] = draft.pipeline
    return definitions


def read_drafts(*folders: Path) -> Iterator[Draft]:
    """Reads what `load_definitions` reads, and continues after a fault.

    Returns:
        One draft for each file and for each missing folder.
    """
    taken: set[str] = set()
    for folder in (BUILT_IN_FOLDER, *folders):
        if not folder.is_dir():
            what = "there is no folder of this name to read pipelines from. Create it, or name another."
            yield _nothing(f"Folder {folder}", what)
        for file in sorted(folder.glob("*.json")):
            yield _read_file(file, taken)
            taken.add(file.stem)


def find(definitions: Mapping[str, PipelineDefinition], pipeline_id: str) -> PipelineDefinition:
    """Returns the pipeline with that id.

    Raises:
        UnknownPipelineError: There is none. The text lists the known ones.
    """
    if pipeline_id not in definitions:
        raise UnknownPipelineError(pipeline_id, definitions)
    return definitions[pipeline_id]


def parse(document: object) -> PipelineDefinition:
    """Returns a definition from parsed JSON.

    Raises:
        PipelineError: The document has a fault. The text is the first one.
    """
    draft = _read(document, FieldReader("The pipeline"))
    raise_first(draft.faults)
    return draft.pipeline


def file_name(pipeline_id: str) -> str:
    """Returns the name of a pipeline's file, as faults name it."""
    return f"Pipeline file {pipeline_id}.json"


def _read_file(file: Path, taken: set[str]) -> Draft:
    reader = FieldReader(file_name(file.stem))
    try:
        document = reader.document(file.read_bytes())
    except OSError as error:
        return _nothing(reader.where, f"it cannot be read ({error.strerror}). Correct that, or remove it.")
    except (ValueError, RecursionError) as error:
        return _nothing(reader.where, f"it is not valid JSON ({error}). Correct it.")
    if file.stem in taken:
        reader.report(f"the id {file.stem!r} is taken by another file. Rename file and id.")
    return _read(document, reader, file.stem)


def _nothing(where: str, what: str) -> Draft:
    nothing = PipelineDefinition("", "", (), (), (), ())
    return Draft(where, nothing, (Fault(where, what),), connected=False)


def _read(document: object, reader: FieldReader, stem: str | None = None) -> Draft:
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


def _node(entry: object, number: int, reader: FieldReader) -> Node:
    """Reads a node. A value that could not be read is an empty text."""
    name = entry.get("id") if isinstance(entry, dict) else None
    what = f"node {name!r}" if isinstance(name, str) and NAME.fullmatch(name) else f"node number {number}"
    given = reader.fields(entry, ("id", "plugin", "tool"), what)
    return Node(
        reader.name(given, "id", f"{what}: its id") or "",
        reader.name(given, "plugin", f"{what}: plugin") or "",
        reader.name(given, "tool", f"{what}: tool") or "",
    )


def _edge(entry: object, number: int, reader: FieldReader) -> Edge:
    """Reads an edge. A value that could not be read is an empty text."""
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
