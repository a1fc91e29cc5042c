from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from videoqueue.cli.validate import validate
from videoqueue.errors import PipelineError
from videoqueue.pipeline.conformance.pipelines import check_definitions, check_pipelines
from videoqueue.pipeline.definitions.definition import parse
from videoqueue.pipeline.plugin import Manifest, Plugin, PluginOptions, Tool
from videoqueue.pipeline.registry import PluginRegistry

FILE = "Pipeline file mine.json"
TOOLS = {
    "mean": Tool({"image": "image"}, {"mean": "number"}),
    "double": Tool({"mean": "number"}, {"double": "number"}),
    "name": Tool({"mean": "text"}, {"name": "text"}),
    "shout": Tool({"image": "image"}, {"mean": "number"}),
    "echo": Tool({"image": "image"}, {"image": "image"}),
    "clock": Tool({"image": "image"}, {"timestamp": "number"}),
    "sum": Tool({"mean": "number", "double": "number"}, {"sum": "number"}),
}


class Steps:
    """Declares its manifest, and must not be made: checks of pipelines load no model that they need not."""

    manifest = Manifest("steps", "1", TOOLS)

    def __init__(self, options: PluginOptions) -> None:
        raise AssertionError("made")

    def run_tool(self, tool: str, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        raise AssertionError("run")


def broken(options: PluginOptions) -> Plugin:
    raise OSError("no model")


def registry() -> PluginRegistry:
    return PluginRegistry(PluginOptions(), {"steps": Steps, "broken": broken})


def document(
    tools: Sequence[str], edges: Sequence[tuple[str, str]] = (), outputs: Sequence[str] = (), **changes: Any
) -> dict[str, Any]:
    """One node for each tool, of the same name; all are outputs unless said otherwise."""
    targets = {target for _, target in edges}
    return {
        "id": "mine",
        "description": "",
        "nodes": [{"id": tool, "plugin": "steps", "tool": tool} for tool in tools],
        "edges": [{"from": source, "to": target} for source, target in edges],
        "entry_nodes": [tool for tool in tools if tool not in targets],
        "output_nodes": list(outputs or tools),
        **changes,
    }


def node(name: str, plugin: str, tool: str) -> dict[str, str]:
    return {"id": name, "plugin": plugin, "tool": tool}


FAULTS = {
    "an unknown plugin": (
        document([], nodes=[node("a", "x", "t")], entry_nodes=["a"], output_nodes=["a"]),
        [f"{FILE}, node 'a': There is no plugin 'x'. Known plugins: broken, ocr, steps, yolo."],
    ),
    "a plugin that cannot be made": (
        document([], nodes=[node("a", "broken", "t")], entry_nodes=["a"], output_nodes=["a"]),
        [
            f"{FILE}, node 'a': Plugin 'broken' cannot be loaded. The log contains the reason; "
            "reinstalling it may help. [OSError: no model]"
        ],
    ),
    "an unknown tool": (
        document([], nodes=[node("a", "steps", "t")], entry_nodes=["a"], output_nodes=["a"]),
        [
            f"{FILE}, node 'a': plugin 'steps' has no tool 't'. "
            "It has 'clock', 'double', 'echo', 'mean', 'name', 'shout', 'sum'."
        ],
    ),
    "an input that nothing gives": (
        document(["double"]),
        [
            f"{FILE}, node 'double': it needs 'mean' of type 'number', but no node before it returns one. "
            "Add an edge from a tool that returns it."
        ],
    ),
    "two inputs that nothing gives": (
        document(["sum"]),
        [
            f"{FILE}, node 'sum': it needs '{key}' of type 'number', but no node before it returns one. "
            "Add an edge from a tool that returns it."
            for key in ("mean", "double")
        ],
    ),
    "an input of another type": (
        document(["mean", "name"], [("mean", "name")]),
        [
            f"{FILE}, node 'name': it needs 'mean' of type 'text', but node 'mean' returns 'number'. "
            "Add an edge from a tool that returns it."
        ],
    ),
    "an input from two nodes": (
        document(["mean", "shout", "double"], [("mean", "double"), ("shout", "double")], ["double"]),
        [
            f"{FILE}, node 'double': it gets 'mean' from more than one place: node 'mean', node 'shout'. "
            "Remove an edge."
        ],
    ),
    "an image that is not the frame": (
        document(["echo", "mean"], [("echo", "mean")], ["mean"]),
        [
            f"{FILE}, node 'mean': it gets 'image' from more than one place: the frame, node 'echo'. "
            "Remove an edge."
        ],
    ),
    "two nodes that write one key": (
        document(["mean", "shout"]),
        [
            f"{FILE}, node 'shout': it writes 'mean' into the result, and so does node 'mean'. "
            "Remove one of them from output_nodes."
        ],
    ),
    "a node that writes the frame": (
        document(["echo"]),
        [
            f"{FILE}, node 'echo': it writes 'image' into the result, and so does the frame. "
            "Remove one of them from output_nodes."
        ],
    ),
    "a node that writes the frame's time": (
        document(["clock"]),
        [
            f"{FILE}, node 'clock': it writes 'timestamp' into the result, and so does the frame. "
            "Remove one of them from output_nodes."
        ],
    ),
    "a fault of the file beside one of the plugins": (
        document(["double"], name="x"),
        [
            f"{FILE}: it has an unknown field 'name'. "
            "It takes id, description, nodes, edges, entry_nodes, output_nodes.",
            f"{FILE}, node 'double': it needs 'mean' of type 'number', but no node before it returns one. "
            "Add an edge from a tool that returns it.",
        ],
    ),
    "an edge that cannot be read, which may be what is missing": (
        document(["mean", "double"]) | {"edges": [{"from": "mean", "too": "double"}]},
        [
            f"{FILE}: edge number 1 has no 'to'. Add it.",
            f"{FILE}: edge number 1 has an unknown field 'too'. It takes from, to.",
        ],
    ),
    "a node without a tool, on which another waits": (
        document(["double"], nodes=[{"id": "a", "plugin": "steps"}, node("double", "steps", "double")])
        | {"edges": [{"from": "a", "to": "double"}], "entry_nodes": ["a"]},
        [f"{FILE}: node 'a' has no 'tool'. Add it."],
    ),
    "one name for two nodes": (
        document(["mean", "double"], [("mean", "double")])
        | {
            "nodes": [node("mean", "steps", tool) for tool in ("mean", "name")]
            + [node("double", "steps", "double")]
        },
        [f"{FILE}: the node 'mean' appears more than once. Keep one."],
    ),
}


def mine(folder: Path) -> list[str]:
    return [str(fault) for report in check_pipelines(registry(), folder) for fault in report.faults]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of pipelines, the only one: the models of the built-in ones take seconds to load."""
    built_in, folder = tmp_path / "built_in", tmp_path / "pipelines"
    built_in.mkdir()
    folder.mkdir()
    monkeypatch.setattr("videoqueue.pipeline.definitions.definition.BUILT_IN_FOLDER", built_in)
    return folder


def write(folder: Path, content: dict[str, Any]) -> None:
    (folder / f"{content['id']}.json").write_text(json.dumps(content))


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_one_line_with_file_node_and_remedy(folder: Path, name: str) -> None:
    content, lines = FAULTS[name]
    write(folder, content)

    assert mine(folder) == lines


def test_what_can_run_has_no_faults(folder: Path) -> None:
    edges = [("mean", "double"), ("mean", "sum"), ("double", "sum")]
    write(folder, document(["sum", "double", "mean"], edges, ["sum", "mean"]))

    (report,) = check_pipelines(registry(), folder)

    assert report.faults == ()
    assert [step.id for step in report.pipeline.nodes] == ["mean", "double", "sum"]


def test_a_circle_hides_no_wrong_type(folder: Path) -> None:
    write(
        folder,
        document(["mean", "name", "double"], [("mean", "name"), ("name", "double"), ("double", "name")]),
    )

    assert [line.split(": ", 1)[1].split(" of ")[0] for line in mine(folder)] == [
        "its nodes form a cycle: name -> double -> name. Remove one",
        "it needs 'mean'",
        "it needs 'mean'",
    ]


def test_the_faults_of_all_files_are_reported(folder: Path) -> None:
    write(folder, document(["double"], id="one"))
    write(folder, document(["mean"], id="two"))
    write(folder, document(["name"], id="three"))

    faults = [[fault.where for fault in report.faults] for report in check_pipelines(registry(), folder)]

    assert faults == [
        ["Pipeline file one.json, node 'double'"],
        ["Pipeline file three.json, node 'name'"],
        [],
    ]


def test_loaded_definitions_are_checked_against_the_plugins() -> None:
    good, bad = parse(document(["mean"], id="good")), parse(document(["double"], id="bad"))

    (fault,) = check_definitions({"good": good, "bad": bad}, registry())

    assert str(fault).startswith("Pipeline file bad.json, node 'double': it needs 'mean'")


def test_a_plugin_that_fails_is_made_once_for_all_pipelines() -> None:
    calls: list[int] = []

    def failing(options: PluginOptions) -> Plugin:
        calls.append(1)
        raise PipelineError("Set failing.model.")

    nodes = [node("a", "failing", "t"), node("b", "failing", "t")]
    content = document([], nodes=nodes, entry_nodes=["a", "b"], output_nodes=["a", "b"])

    faults = check_definitions(
        {"mine": parse(content)}, PluginRegistry(PluginOptions(), {"failing": failing})
    )

    assert [str(fault) for fault in faults] == [
        f"{FILE}, node 'a': Set failing.model.",
        f"{FILE}, node 'b': Set failing.model.",
    ]
    assert len(calls) == 1


def run(*arguments: str) -> Result:
    return CliRunner().invoke(validate, ["pipelines", *arguments], catch_exceptions=False)


def test_the_command_prints_one_line_for_each_good_pipeline() -> None:
    done = run()

    assert (done.exit_code, done.stdout, done.stderr) == (
        0,
        "ok ocr_only: ocr.read\nok yolo_ocr: yolo.detect, ocr.read\nok yolo_only: yolo.detect\n",
        "",
    )


@pytest.mark.parametrize("by", ["option", "setting"])
def test_the_command_reads_the_folder_of_the_option_or_the_setting(
    folder: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    unknown = [node("a", "none", "t")]
    write(folder, document([], nodes=unknown, entry_nodes=["a"], output_nodes=["a"]))
    if by == "setting":
        monkeypatch.setenv("VIDEOQUEUE_PIPELINES_DIR", str(folder))

    done = run(*(["--pipelines-dir", str(folder)] if by == "option" else []))

    assert (done.exit_code, done.stdout, done.stderr) == (
        1,
        "",
        f"{FILE}, node 'a': There is no plugin 'none'. Known plugins: ocr, yolo.\n",
    )


def test_a_folder_that_is_not_there_is_a_fault(folder: Path) -> None:
    missing = folder / "none"

    done = run("--pipelines-dir", str(missing))

    assert (done.exit_code, done.stderr) == (
        1,
        f"Folder {missing}: there is no folder of this name to read pipelines from. "
        "Create it, or name another.\n",
    )
