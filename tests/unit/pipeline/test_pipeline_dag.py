from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from tests.support.log_lines import LogLines
from tests.support.small_videos import flat
from videoqueue.errors import OutOfMemoryError, PermanentError, PipelineError, TransientError
from videoqueue.pipeline.dag import DagPipelineService
from videoqueue.pipeline.definitions.definition import parse
from videoqueue.pipeline.plugin import Manifest, PluginOptions, Tool
from videoqueue.pipeline.registry import PluginRegistry

Run = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class Steps:
    """A plugin whose tools are plain functions."""

    def __init__(self, tools: Mapping[str, tuple[Tool, Run]]) -> None:
        self.manifest = Manifest("steps", "1", {name: tool for name, (tool, _) in tools.items()})
        self._run = {name: run for name, (_, run) in tools.items()}

    def run_tool(self, tool: str, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._run[tool](inputs)


MEAN = (Tool({"image": "image"}, {"mean": "number"}), lambda given: {"mean": float(given["image"].mean())})
DOUBLE = (Tool({"mean": "number"}, {"double": "number"}), lambda given: {"double": given["mean"] * 2})
BOTH = (
    Tool({"image": "image", "mean": "number", "double": "number"}, {"sum": "number", "seen": "names"}),
    lambda given: {"sum": given["mean"] + given["double"], "seen": sorted(given)},
)
SHOUT = (Tool({"image": "image"}, {"mean": "number"}), lambda given: {"mean": 0.0})


def service(
    tools: Mapping[str, tuple[Tool, Run]], edges: Sequence[tuple[str, str]] = (), outputs: Sequence[str] = ()
) -> DagPipelineService:
    """A pipeline with one node for each tool, of the same name; all are outputs unless said otherwise."""
    targets = {target for _, target in edges}
    definition = parse(
        {
            "id": "mine",
            "description": "",
            "nodes": [{"id": name, "plugin": "steps", "tool": name} for name in tools],
            "edges": [{"from": source, "to": target} for source, target in edges],
            "entry_nodes": [name for name in tools if name not in targets],
            "output_nodes": list(outputs or tools),
        }
    )
    return DagPipelineService(
        definition, PluginRegistry(PluginOptions(), {"steps": lambda options: Steps(tools)})
    )


def failing(error: BaseException) -> tuple[Tool, Run]:
    def run(given: Mapping[str, Any]) -> Mapping[str, Any]:
        raise error

    return Tool({"image": "image"}, {"x": "number"}), run


def giving(**outputs: Any) -> tuple[Tool, Run]:
    return Tool({"image": "image"}, {"x": "number"}), lambda given: outputs


def test_a_node_gets_the_frame_and_the_outputs_of_the_nodes_before_it() -> None:
    edges = [("double", "both"), ("mean", "double"), ("mean", "both")]
    pipeline = service({"both": BOTH, "double": DOUBLE, "mean": MEAN}, edges, outputs=["both"])

    assert pipeline.run_frame(flat(4, 4, 10)) == {"sum": 30.0, "seen": ["double", "image", "mean"]}


def test_the_result_merges_the_outputs_of_all_output_nodes() -> None:
    pipeline = service({"mean": MEAN, "double": DOUBLE}, [("mean", "double")])

    assert pipeline.run_frame(flat(4, 4, 10)) == {"mean": 10.0, "double": 20.0}


def test_a_pipeline_that_does_not_fit_its_plugins_is_refused_when_built() -> None:
    with pytest.raises(PipelineError) as caught:
        service({"mean": MEAN, "shout": SHOUT})

    assert str(caught.value) == (
        "Pipeline 'mine', node 'shout': it writes 'mean' into the result, and so does node 'mean'. "
        "Remove one of them from output_nodes."
    )


@pytest.mark.parametrize("outputs", [None, 5, [("x", 1)]])
def test_outputs_that_are_no_mapping_are_the_plugins_fault(outputs: object) -> None:
    bad: Any = (Tool({"image": "image"}, {"x": "number"}), lambda given: outputs)

    with pytest.raises(
        PipelineError, match=rf"returned a {type(outputs).__name__}; its manifest declares 'x'"
    ):
        service({"bad": bad}).run_frame(flat(4, 4, 0))


def test_a_failing_plugin_names_the_step_and_leaves_its_reason_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pipeline = service({"bad": failing(RuntimeError("/secret/path"))})

    with caplog.at_level(logging.ERROR), pytest.raises(PipelineError) as caught:
        pipeline.run_frame(flat(4, 4, 0))

    text = str(caught.value)
    assert text == "Step 'bad' (tool 'bad' of plugin 'steps') failed. The worker's log contains the reason."
    assert "/secret/path" in caplog.text


def test_a_failing_plugins_line_names_the_step() -> None:
    with LogLines() as log_lines, pytest.raises(PipelineError):
        service({"bad": failing(RuntimeError("x"))}).run_frame(flat(4, 4, 0))
    (line,) = log_lines.written
    assert line.startswith("[node=bad plugin=steps tool=bad] A plugin failed.\n    Traceback ")


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_failed_allocation_is_no_fault_of_the_plugin(wrapped: bool) -> None:
    """Also one that the plugin tells in words of its own."""
    error: Exception = RuntimeError("[CPU] Subgraph node with name 'MatMul.8' can't alloc")
    if wrapped:
        cause, error = error, PermanentError("OpenVINO cannot run it. Export it again.")
        error.__cause__ = cause
    with LogLines() as log_lines, pytest.raises(OutOfMemoryError, match="out of memory"):
        service({"bad": failing(error)}).run_frame(flat(4, 4, 0))
    (line,) = log_lines.written
    assert line.startswith("[node=bad plugin=steps tool=bad] Memory ran out in a plugin.\n")


def test_a_plugin_that_asks_python_to_exit_has_failed() -> None:
    with pytest.raises(PipelineError, match="failed"):
        service({"bad": failing(SystemExit(0))}).run_frame(flat(4, 4, 0))


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, {"x": [2**64]}])
def test_a_whole_number_of_more_than_64_bits_is_the_plugins_fault(value: object) -> None:
    with pytest.raises(PipelineError, match="at most 64 bits"):
        service({"bad": giving(x=value)}).run_frame(flat(4, 4, 0))


def test_a_plugin_may_say_what_was_wrong() -> None:
    with pytest.raises(PipelineError, match=r"plugin 'steps'\) failed: the labels are missing"):
        service({"bad": failing(PipelineError("the labels are missing"))}).run_frame(flat(4, 4, 0))


def test_a_passing_error_of_a_plugin_is_handed_on() -> None:
    with pytest.raises(TransientError):
        service({"bad": failing(TransientError("later"))}).run_frame(flat(4, 4, 0))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32(1), np.int64(1), b"x", np.zeros(2)])
def test_a_value_that_json_cannot_hold_is_the_plugins_fault(value: object) -> None:
    with pytest.raises(PipelineError, match="JSON cannot represent"):
        service({"bad": giving(x=value)}).run_frame(flat(4, 4, 0))


@pytest.mark.parametrize("outputs", [{}, {"y": 1}, {"x": 1, "y": 1}])
def test_a_tool_gives_exactly_what_its_manifest_promises(outputs: dict[str, int]) -> None:
    with pytest.raises(PipelineError, match=r"its manifest declares 'x'"):
        service({"bad": giving(**outputs)}).run_frame(flat(4, 4, 0))
