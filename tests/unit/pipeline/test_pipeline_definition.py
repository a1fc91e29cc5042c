from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from videoqueue.errors import PipelineError, UnknownPipelineError
from videoqueue.pipeline.definition import find, load_definitions

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


FLAWS = {
    "no JSON": ("{", "no valid JSON"),
    "JSON too deep to read": ("[" * 100_000, "no valid JSON"),
    "no object": ([], "must be a JSON object"),
    "another id than the file's": (pipeline(id="yours"), "its id is 'yours'. Give file and id the same name"),
    "an id with a slash": (pipeline(id="a/b"), "the id is 'a/b'"),
    "a missing field": (pipeline(nodes=None), "has no 'nodes'. Add it"),
    "an unknown field": (pipeline(name="x"), "unknown field 'name'"),
    "a misspelt field of a node": (pipeline(nodes=[{**A, "tol": "t"}]), "a node has an unknown field 'tol'"),
    "nodes that are no list": (pipeline(nodes={}), "nodes must be a list"),
    "no nodes": (pipeline(nodes=[]), "it has no nodes"),
    "one node twice": (pipeline(nodes=[A, A, B]), "the node 'a' appears 2 times"),
    "one edge twice": (pipeline(edges=[AB, AB]), "the edge 'a -> b' appears 2 times"),
    "an edge from nowhere": (pipeline(edges=[AB, {"from": "x", "to": "b"}]), "edges names the node 'x'"),
    "an unknown output": (pipeline(output_nodes=["x"]), "output_nodes names the node 'x'"),
    "an output twice": (pipeline(output_nodes=["b", "b"]), "'b' appears 2 times"),
    "no output": (pipeline(output_nodes=[]), "node 'b' leads to no output node"),
    "a node nobody uses": (pipeline(output_nodes=["a"]), "node 'b' leads to no output node"),
    "an entry that is none": (pipeline(entry_nodes=["a", "b"]), "node 'b' has an incoming edge"),
    "an entry not listed": (pipeline(entry_nodes=[]), "node 'a' has no incoming edge: list it"),
    "a circle": (pipeline(edges=[AB, BA], entry_nodes=[]), "run in a circle: "),
    "a node that feeds itself": (pipeline(edges=[AB, {"from": "b", "to": "b"}]), "in a circle: b -> b"),
    "a number for a text": (pipeline(description=5), "the description must be a text, not 5"),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_wrong_file_is_refused_with_its_name_and_the_remedy(tmp_path: Path, flaw: str) -> None:
    document, reason = FLAWS[flaw]
    write(tmp_path, document)

    with pytest.raises(PipelineError) as caught:
        load_definitions(tmp_path)

    text = str(caught.value)
    assert (text.startswith("Pipeline file mine.json: "), reason in text, "\n" in text) == (True, True, False)


def test_an_id_can_be_claimed_once(tmp_path: Path) -> None:
    write(tmp_path, pipeline(id="ocr_only"), "ocr_only.json")

    with pytest.raises(PipelineError, match="'ocr_only' is taken"):
        load_definitions(tmp_path)


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="no folder"):
        load_definitions(tmp_path / "none")


def test_an_unknown_pipeline_lists_the_known_ones() -> None:
    with pytest.raises(
        UnknownPipelineError, match=r"^There is no pipeline 'x'\. Known pipelines: .*ocr_only"
    ):
        find(load_definitions(), "x")


NEVER_FOR_DEFINITIONS = {"av", "numpy", "cv2", "openvino", "rapidocr"}
NEVER_FOR_THE_SERVICE = {"flask", "dramatiq", "sqlalchemy", "boto3", "redis", "openvino", "rapidocr", "cv2"}


@pytest.mark.parametrize(
    ("module", "never"), [("definition", NEVER_FOR_DEFINITIONS), ("service", NEVER_FOR_THE_SERVICE)]
)
def test_importing_stays_light(module: str, never: set[str]) -> None:
    code = f"import sys, videoqueue.pipeline.{module}; print(*{never!r} & set(sys.modules))"

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.split() == []
