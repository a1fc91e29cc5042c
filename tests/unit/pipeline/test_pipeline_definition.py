from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from videoqueue.errors import PipelineError, UnknownPipelineError
from videoqueue.pipeline.definitions.definition import find, load_definitions, read_drafts

A = {"id": "a", "plugin": "p", "tool": "t"}
B = {"id": "b", "plugin": "p", "tool": "t"}
C = {"id": "c", "plugin": "p", "tool": "t"}
AB = {"from": "a", "to": "b"}
BA = {"from": "b", "to": "a"}


def pipeline(**changes: Any) -> dict[str, Any]:
    document = {
        "id": "mine",
        "description": "Two steps.",
        "nodes": [A, B],
        "edges": [AB],
        "entry_nodes": ["a"],
        "output_nodes": ["b"],
    }
    return {name: value for name, value in {**document, **changes}.items() if value is not None}


def write(folder: Path, document: Any, name: str = "mine.json") -> Path:
    file = folder / name
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    return file


def test_the_pipelines_that_come_along_load() -> None:
    assert "ocr_only" in load_definitions()


def test_a_folder_adds_its_pipelines(tmp_path: Path) -> None:
    write(tmp_path, pipeline())

    definition = load_definitions(tmp_path)["mine"]

    assert (definition.description, definition.predecessors("b")) == ("Two steps.", ("a",))


def test_nodes_come_in_the_order_in_which_they_run(tmp_path: Path) -> None:
    edges = [{"from": "c", "to": "a"}, {"from": "c", "to": "b"}, BA]
    write(tmp_path, pipeline(nodes=[A, B, C], edges=edges, entry_nodes=["c"], output_nodes=["a"]))

    assert [node.id for node in load_definitions(tmp_path)["mine"].nodes] == ["c", "b", "a"]


FILE = "Pipeline file mine.json"
CD = [{"from": "c", "to": "d"}, {"from": "d", "to": "c"}]
D = {"id": "d", "plugin": "p", "tool": "t"}
NAMES = "it takes 1 to 64 letters, digits, '_' and '-', not '_' or '-' first."
LINES = {
    "no object": (
        [],
        [
            f"{FILE}: it must be a JSON object with "
            "id, description, nodes, edges, entry_nodes, output_nodes, not []."
        ],
    ),
    "another id than the file's": (
        pipeline(id="yours"),
        [f"{FILE}: its id is 'yours'. Give file and id the same name."],
    ),
    "an id with a slash": (pipeline(id="a/b"), [f"{FILE}: the id is 'a/b': {NAMES}"]),
    "an id with a line break": (pipeline(id="a\n"), [f"{FILE}: the id is 'a\\n': {NAMES}"]),
    "a missing field": (pipeline(nodes=None), [f"{FILE}: it has no 'nodes'. Add it."]),
    "an unknown field": (
        pipeline(name="x"),
        [
            f"{FILE}: it has an unknown field 'name'. "
            "It takes id, description, nodes, edges, entry_nodes, output_nodes."
        ],
    ),
    "a misspelt field of a node": (
        pipeline(nodes=[{"id": "a", "plugin": "p", "tol": "t"}, B]),
        [
            f"{FILE}: node 'a' has no 'tool'. Add it.",
            f"{FILE}: node 'a' has an unknown field 'tol'. It takes id, plugin, tool.",
        ],
    ),
    "a node without a name": (
        pipeline(nodes=[A, B, {"plugin": "p", "tool": "t"}]),
        [f"{FILE}: node number 3 has no 'id'. Add it."],
    ),
    "a node that is a text": (
        pipeline(nodes=[A, B, "c"]),
        [f"{FILE}: node number 3 must be a JSON object with id, plugin, tool, not 'c'."],
    ),
    "an edge that is a list": (
        pipeline(edges=[["a", "b"]]),
        [f"{FILE}: edge number 1 must be a JSON object with from, to, not ['a', 'b']."],
    ),
    "an edge to a number": (
        pipeline(edges=[{"from": "a", "to": 2}]),
        [f"{FILE}: edge number 1: its 'to' must be a text, not 2."],
    ),
    "nodes that are no list": (pipeline(nodes={}), [f"{FILE}: nodes must be a list, not {{}}."]),
    "no nodes": (pipeline(nodes=[]), [f"{FILE}: it has no nodes. Add at least one."]),
    "a number for a text": (pipeline(description=5), [f"{FILE}: the description must be a text, not 5."]),
    "a number for an entry": (
        pipeline(entry_nodes=[1]),
        [f"{FILE}: a name in entry_nodes must be a text, not 1."],
    ),
    "a very long value": (
        pipeline(description=["x" * 200]),
        [f"{FILE}: the description must be a text, not ['{'x' * 58}...."],
    ),
    "one node twice": (
        pipeline(nodes=[A, A, B]),
        [f"{FILE}: the node 'a' appears more than once. Keep one."],
    ),
    "one edge twice": (
        pipeline(edges=[AB, AB]),
        [f"{FILE}: the edge 'a -> b' appears more than once. Keep one."],
    ),
    "an output twice": (
        pipeline(output_nodes=["b", "b"]),
        [f"{FILE}: in output_nodes, 'b' appears more than once. Keep one."],
    ),
    "an entry twice": (
        pipeline(entry_nodes=["a", "a"]),
        [f"{FILE}: in entry_nodes, 'a' appears more than once. Keep one."],
    ),
    "an edge from nowhere": (
        pipeline(edges=[AB, {"from": "x", "to": "b"}]),
        [f"{FILE}: edges names the node 'x', which is not in nodes. Known nodes: 'a', 'b'."],
    ),
    "an unknown output": (
        pipeline(output_nodes=["b", "x"]),
        [f"{FILE}: output_nodes names the node 'x', which is not in nodes. Known nodes: 'a', 'b'."],
    ),
    "an unknown entry": (
        pipeline(entry_nodes=["a", "x"]),
        [f"{FILE}: entry_nodes names the node 'x', which is not in nodes. Known nodes: 'a', 'b'."],
    ),
    "no output": (
        pipeline(output_nodes=[]),
        [f"{FILE}: output_nodes is empty. List the nodes whose outputs are the result."],
    ),
    "no entry": (
        pipeline(entry_nodes=[]),
        [f"{FILE}: entry_nodes is empty. List the nodes without an incoming edge: 'a'."],
    ),
    "a node that leads nowhere": (
        pipeline(output_nodes=["a"]),
        [f"{FILE}, node 'b': it leads to no output node. List it in output_nodes, or remove it."],
    ),
    "an entry that is none": (
        pipeline(entry_nodes=["a", "b"]),
        [f"{FILE}, node 'b': it has an incoming edge: remove it from entry_nodes."],
    ),
    "a node that nothing reaches": (
        pipeline(nodes=[A, B, C], edges=[AB, {"from": "c", "to": "b"}]),
        [
            f"{FILE}, node 'c': it has no incoming edge and is no entry node, so it cannot be reached: "
            "list it in entry_nodes, or add an edge to it."
        ],
    ),
    "a cycle": (
        pipeline(edges=[AB, BA], entry_nodes=[]),
        [f"{FILE}: its nodes form a cycle: a -> b -> a. Remove one of these edges."],
    ),
    "a cycle with an entry": (
        pipeline(edges=[AB, BA]),
        [f"{FILE}: its nodes form a cycle: a -> b -> a. Remove one of these edges."],
    ),
    "a node that feeds itself": (
        pipeline(edges=[AB, {"from": "b", "to": "b"}]),
        [f"{FILE}: its nodes form a cycle: b -> b. Remove one of these edges."],
    ),
    "a cycle that nothing reaches": (
        pipeline(nodes=[A, B, C, D], edges=[AB, *CD, {"from": "d", "to": "b"}]),
        [
            f"{FILE}: its nodes form a cycle: c -> d -> c. Remove one of these edges.",
            f"{FILE}, node 'c': no entry node leads to it. Add an edge to it, or remove it.",
            f"{FILE}, node 'd': no entry node leads to it. Add an edge to it, or remove it.",
        ],
    ),
    "two cycles": (
        pipeline(nodes=[A, B, C, D], edges=[AB, BA, *CD], entry_nodes=["a", "c"], output_nodes=["b", "d"]),
        [
            f"{FILE}: its nodes form a cycle: a -> b -> a. Remove one of these edges.",
            f"{FILE}: its nodes form a cycle: c -> d -> c. Remove one of these edges.",
        ],
    ),
    "two cycles that share a node": (
        pipeline(nodes=[A, B, C], edges=[AB, BA, {"from": "b", "to": "c"}, {"from": "c", "to": "b"}]),
        [f"{FILE}: its nodes form a cycle: a -> b -> a. Remove one of these edges."],
    ),
    "a cycle whose edges are listed from its middle": (
        pipeline(nodes=[A, B, C], edges=[{"from": "c", "to": "a"}, {"from": "b", "to": "c"}, AB]),
        [f"{FILE}: its nodes form a cycle: a -> b -> c -> a. Remove one of these edges."],
    ),
    "a field given twice": (
        '{"edges": [], ' + json.dumps(pipeline())[1:],
        [f"{FILE}: the field 'edges' appears twice in one object. Keep one."],
    ),
    "several at once": (
        pipeline(name="x", nodes=[A, A, B, C], edges=[AB, BA], output_nodes=["b", "x"]),
        [
            f"{FILE}: it has an unknown field 'name'. "
            "It takes id, description, nodes, edges, entry_nodes, output_nodes.",
            f"{FILE}: the node 'a' appears more than once. Keep one.",
            f"{FILE}: output_nodes names the node 'x', which is not in nodes. Known nodes: 'a', 'b', 'c'.",
            f"{FILE}: its nodes form a cycle: a -> b -> a. Remove one of these edges.",
            f"{FILE}, node 'c': it has no incoming edge and is no entry node, so it cannot be reached: "
            "list it in entry_nodes, or add an edge to it.",
            f"{FILE}, node 'c': it leads to no output node. List it in output_nodes, or remove it.",
        ],
    ),
}


def faults(*folders: Path) -> list[str]:
    return [str(fault) for draft in read_drafts(*folders) for fault in draft.faults]


@pytest.mark.parametrize("flaw", LINES)
def test_every_fault_of_a_file_is_told_with_node_and_remedy(tmp_path: Path, flaw: str) -> None:
    document, lines = LINES[flaw]
    write(tmp_path, document)

    assert faults(tmp_path) == lines


@pytest.mark.parametrize("flaw", LINES)
def test_loading_stops_at_the_first_fault(tmp_path: Path, flaw: str) -> None:
    document, lines = LINES[flaw]
    write(tmp_path, document)

    with pytest.raises(PipelineError) as caught:
        load_definitions(tmp_path)

    assert str(caught.value) == lines[0]


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b"\xff", b"", b"\xef\xbb\xbf{}"])
def test_what_is_no_json_is_told_with_the_place(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.json").write_bytes(content)

    (line,) = faults(tmp_path)

    assert line.startswith(f"{FILE}: it is not valid JSON (")
    assert line.endswith("). Correct it.")


def test_a_file_that_cannot_be_read_is_told_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "mine.json").mkdir()

    assert faults(tmp_path) == [f"{FILE}: it cannot be read (Is a directory). Correct that, or remove it."]


def test_a_wrong_file_does_not_hide_the_next(tmp_path: Path) -> None:
    write(tmp_path, "{", "a.json")
    write(tmp_path, pipeline(description=5))

    assert [line.split(":")[0] for line in faults(tmp_path)] == ["Pipeline file a.json", FILE]


def test_an_id_can_be_claimed_once(tmp_path: Path) -> None:
    write(tmp_path, pipeline(id="ocr_only"), "ocr_only.json")

    assert faults(tmp_path) == [
        "Pipeline file ocr_only.json: the id 'ocr_only' is taken by another file. Rename file and id."
    ]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "none"

    with pytest.raises(PipelineError) as caught:
        load_definitions(folder)

    assert str(caught.value) == (
        f"Folder {folder}: there is no folder of this name to read pipelines from. "
        "Create it, or name another."
    )


def test_an_unknown_pipeline_lists_the_known_ones() -> None:
    with pytest.raises(
        UnknownPipelineError, match=r"^There is no pipeline 'x'\. Known pipelines: .*ocr_only"
    ):
        find(load_definitions(), "x")


NEVER_FOR_DEFINITIONS = {"av", "numpy", "cv2", "openvino", "rapidocr"}
NEVER_FOR_THE_SERVICE = {"flask", "dramatiq", "sqlalchemy", "boto3", "redis", "openvino", "rapidocr", "cv2"}


@pytest.mark.parametrize(
    ("module", "never"),
    [("definitions.definition", NEVER_FOR_DEFINITIONS), ("service", NEVER_FOR_THE_SERVICE)],
)
def test_importing_stays_light(module: str, never: set[str]) -> None:
    code = f"import sys, videoqueue.pipeline.{module}; print(*{never!r} & set(sys.modules))"

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.split() == []
