from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from videoqueue.cli.validate import validate
from videoqueue.pipeline.conformance.frames import trial_frames
from videoqueue.pipeline.conformance.known_types import KNOWN_TYPES
from videoqueue.pipeline.conformance.plugins import PluginReport, check_plugins
from videoqueue.pipeline.plugin import Manifest, Plugin, PluginFactory, PluginOptions, Tool
from videoqueue.pipeline.registry import PluginRegistry

Run = Callable[[Mapping[str, Any]], Any]
IMAGE = {"image": "image"}
FIRST = "text of 640x360"
NAMES = [FIRST, "noise of 320x240", "grey of 320x180", "text of 333x241", "text of 16x16"]


@pytest.fixture(autouse=True)
def short_race(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that meet here do not meet by chance, so one round is enough."""
    monkeypatch.setattr("videoqueue.pipeline.conformance.trial._RACE_SECONDS", 0.0)


class Steps:
    """A plugin whose tools are plain functions."""

    def __init__(self, name: str, tools: Mapping[str, tuple[Tool, Run]]) -> None:
        self.manifest = Manifest(name, "1", {tool: taken for tool, (taken, _) in tools.items()})
        self._run = {tool: run for tool, (_, run) in tools.items()}

    def run_tool(self, tool: str, inputs: Mapping[str, Any]) -> Any:
        return self._run[tool](inputs)


def checked(**plugins: Mapping[str, tuple[Tool, Run]]) -> dict[str, PluginReport]:
    def factory(name: str) -> PluginFactory:
        return lambda options: Steps(name, plugins[name])

    registry = PluginRegistry(PluginOptions(), {name: factory(name) for name in plugins})
    return {report.name: report for report in check_plugins(registry, list(plugins))}


def faults(run: Run, outputs: Mapping[str, str], inputs: Mapping[str, str] = IMAGE) -> list[str]:
    """The faults of a plugin with one tool, without where they are."""
    report = checked(p={"t": (Tool(inputs, outputs), run)})["p"]
    assert {fault.where for fault in report.faults} <= {"Plugin 'p', tool 't'"}
    assert report.notes == ()
    return [fault.what for fault in report.faults]


def level(given: Mapping[str, Any]) -> float:
    return float(given["image"].mean())


def test_a_good_tool_has_no_faults() -> None:
    assert faults(lambda given: {"level": level(given)}, {"level": "number"}) == []


def test_frames_differ_in_content_and_size() -> None:
    frames = trial_frames()

    assert [frame.name for frame in frames] == NAMES
    assert [frame.image.shape for frame in frames] == [
        (360, 640, 3),
        (240, 320, 3),
        (180, 320, 3),
        (241, 333, 3),
        (16, 16, 3),
    ]
    assert [len(np.unique(frame.image)) > 1 for frame in frames] == [True, True, False, True, True]
    assert {(frame.image.dtype, frame.image.flags.c_contiguous) for frame in frames} == {
        (np.dtype("uint8"), True)
    }


def test_frames_are_the_same_in_every_run() -> None:
    assert all(
        np.array_equal(one.image, other.image)
        for one, other in zip(trial_frames(), trial_frames(), strict=True)
    )


def test_a_tool_that_fails_is_told_with_the_frame_and_the_reason() -> None:
    def run(given: Mapping[str, Any]) -> dict[str, Any]:
        if given["image"].shape[0] < 32:
            raise ValueError("too\nsmall")
        return {"level": 1}

    assert faults(run, {"level": "number"}) == [
        "frame 'text of 16x16': it fails (ValueError: too\nsmall). Make it take every frame."
    ]


def test_a_fault_is_one_line_whatever_the_plugin_said() -> None:
    def run(given: Mapping[str, Any]) -> dict[str, Any]:
        raise ValueError("a\nb")

    (fault,) = checked(p={"t": (Tool(IMAGE, {"x": "number"}), run)})["p"].faults

    assert str(fault) == (
        f"Plugin 'p', tool 't': frame '{FIRST}': it fails (ValueError: a b). Make it take every frame."
    )


@pytest.mark.parametrize(
    ("outputs", "given"),
    [({}, "nothing"), ({"y": 1}, "'y'"), ({"x": 1, "y": 1}, "'x', 'y'"), ({1: 1, "x": 1}, "'1', 'x'")],
)
def test_a_tool_gives_exactly_the_outputs_of_its_manifest(outputs: dict[Any, int], given: str) -> None:
    assert faults(lambda _: outputs, {"x": "number"}) == [
        f"frame '{FIRST}': it returns {given}, its manifest declares 'x'. Make them equal."
    ]


def test_outputs_that_are_no_dict_are_told() -> None:
    assert faults(lambda _: None, {"x": "number"}) == [
        f"frame '{FIRST}': it returns a NoneType. Return a dict of its outputs."
    ]


def block(**changes: Any) -> dict[str, Any]:
    return {"text": "a", "confidence": 0.5, "box": [0, 0, 16, 16]} | changes


BOX = "Give a list of four int, [x1, y1, x2, y2]."
INSIDE = "Give 0 <= x1 <= x2 <= width and 0 <= y1 <= y2 <= height."
BLOCKS: dict[str, tuple[Any, str]] = {
    "a text": ("a", "it is 'a'. Give a list."),
    "a tuple": ((block(),), "Give a list."),
    "no dict": (["a"], "an entry is 'a'. Give a dict of text, confidence, box."),
    "a key too many": ([block(x=1)], "Give a dict of text, confidence, box."),
    "a key too few": ([{"text": "a", "confidence": 1}], "Give a dict of text, confidence, box."),
    "a text that is none": ([block(text=None)], "its text is None. Give a str."),
    "a confidence too high": ([block(confidence=1.01)], "its confidence is 1.01. Give a float from 0 to 1."),
    "a confidence too low": ([block(confidence=-0.1)], "its confidence is -0.1. Give a float from 0 to 1."),
    "a confidence that is no number": ([block(confidence=float("nan"))], "its confidence is nan."),
    "a confidence that is true": ([block(confidence=True)], "its confidence is True."),
    "a confidence of numpy": ([block(confidence=np.float32(0.5))], "Give a float from 0 to 1."),
    "a box of three": ([block(box=[0, 0, 1])], f"its box is [0, 0, 1]. {BOX}"),
    "a box of fractions": ([block(box=[0.0, 0, 1, 1])], f"its box is [0.0, 0, 1, 1]. {BOX}"),
    "a box of numpy": ([block(box=list(np.array([0, 0, 1, 1])))], BOX),
    "a box of truths": ([block(box=[False, 0, 1, 1])], BOX),
    "a box turned round": (
        [block(box=[2, 0, 1, 1])],
        f"its box [2, 0, 1, 1] is not inside the frame of 640 x 360. {INSIDE}",
    ),
    "a box upside down": ([block(box=[0, 2, 1, 1])], "is not inside the frame"),
    "a box left of the frame": ([block(box=[-1, 0, 1, 1])], "is not inside the frame"),
    "a box above the frame": ([block(box=[0, -1, 1, 1])], "is not inside the frame"),
    "a box beyond the right": ([block(box=[0, 0, 641, 1])], "is not inside the frame"),
    "a box below the frame": ([block(box=[0, 0, 1, 361])], "is not inside the frame"),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_of_text_have_their_shape(name: str) -> None:
    value, told = BLOCKS[name]

    (what,) = faults(lambda _: {"text_blocks": value}, {"text_blocks": "text_blocks"})

    assert what.startswith(f"frame '{FIRST}': output 'text_blocks' of type 'text_blocks': ")
    assert told in what


def test_the_second_block_is_checked_as_well() -> None:
    (what,) = faults(lambda _: {"x": [block(), block(text=1)]}, {"x": "text_blocks"})

    assert what.endswith("its text is 1. Give a str.")


def test_detections_have_a_label() -> None:
    (what,) = faults(lambda _: {"x": [block()]}, {"x": "detections"})

    assert what.endswith("Give a dict of label, confidence, box.")


def test_a_box_that_fits_only_larger_frames_is_told_with_the_frame() -> None:
    (what,) = faults(lambda _: {"x": [block(box=[0, 0, 17, 16])]}, {"x": "text_blocks"})

    assert what.startswith("frame 'text of 16x16': ")


def test_a_text_is_a_str() -> None:
    assert faults(lambda _: {"x": 1}, {"x": "text"}) == [
        f"frame '{FIRST}': output 'x' of type 'text': it is 1. Give a str."
    ]


@pytest.mark.parametrize(
    ("picture", "count"),
    [
        (np.zeros((2, 2, 3), np.uint8), 0),
        (np.zeros((2, 2), np.uint8), 1),
        (np.zeros((2, 2, 3)), 1),
        ([[[0, 0, 0]]], 1),
    ],
)
def test_an_image_is_an_array_of_bytes(picture: Any, count: int) -> None:
    assert len(faults(lambda _: {"x": picture}, {"x": "image"})) == count


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (float("nan"), "JSON cannot represent it (Out of range float values"),
        ([float("inf")], "JSON cannot represent it (Out of range float values"),
        (np.float32(1), "JSON cannot represent it (Object of type float32"),
        (np.zeros(1), "JSON cannot represent it (Object of type ndarray"),
        (b"x", "JSON cannot represent it (Object of type bytes"),
        ("\ud800", "JSON cannot represent it ('utf-8' codec"),
        ((1, 2), "JSON turns it into [1, 2]. Return lists"),
        ({1: 2}, "JSON turns it into {'1': 2}. Return lists, and dicts with texts as keys."),
    ],
)
def test_outputs_of_any_type_can_be_stored(value: Any, told: str) -> None:
    (what,) = faults(lambda _: {"x": value}, {"x": "mine"})

    assert what.startswith(f"frame '{FIRST}': output 'x' of type 'mine': {told}")


def test_a_tool_that_writes_into_the_frame_is_told() -> None:
    def run(given: Mapping[str, Any]) -> dict[str, Any]:
        answer = {"level": level(given)}
        given["image"][0, 0, 0] ^= 1
        return answer

    assert faults(run, {"level": "number"}) == [
        f"frame '{FIRST}': it changes its input 'image', which others use. Change a copy."
    ]


def test_a_tool_that_changes_what_another_gave_is_told() -> None:
    def run(given: Mapping[str, Any]) -> dict[str, Any]:
        given["text_blocks"].append("more")
        return {"x": 1}

    assert faults(run, {"x": "number"}, {"text_blocks": "text_blocks"}) == [
        f"frame '{FIRST}': it changes its input 'text_blocks', which others use. Change a copy."
    ]


REPEATED = (
    "it returns other outputs for the same inputs. "
    "They must depend on nothing but the inputs: keep no state, fix every seed."
)


def test_a_tool_that_gives_something_else_the_second_time_is_told() -> None:
    chance = random.Random(1)

    assert faults(lambda _: {"x": chance.random()}, {"x": "number"}) == [
        f"frame '{FIRST}': called again, {REPEATED}"
    ]


def test_a_tool_whose_outputs_depend_on_the_frame_before_is_told() -> None:
    last = [0.0, 0.0]

    def run(given: Mapping[str, Any]) -> dict[str, Any]:
        if level(given) != last[1]:
            last[:] = [last[1], level(given)]
        return {"x": last[0]}

    assert faults(run, {"x": "number"}) == [f"frame 'text of 333x241': called after other frames, {REPEATED}"]


def test_the_order_of_keys_counts_as_results_are_compared_byte_by_byte() -> None:
    turn = iter([{"a": 1, "b": 1}, {"b": 1, "a": 1}] * 1000)

    (what,) = faults(lambda _: {"x": next(turn)}, {"x": "mine"})

    assert REPEATED in what


def test_a_tool_that_changes_outputs_it_gave_before_is_told() -> None:
    answer: dict[str, list[float]] = {"x": []}

    def run(given: Mapping[str, Any]) -> dict[str, Any]:
        answer["x"][:] = [level(given)]
        return answer

    assert faults(run, {"x": "mine"}) == [
        "frame 'noise of 320x240': it changes outputs that it returned before. Return new ones each time."
    ]


class Crossing:
    """Lets two threads meet between writing and reading what they share; one thread alone does not wait."""

    def __init__(self) -> None:
        self._alone = threading.get_ident()
        self._both = threading.Barrier(2, timeout=30)

    def wait(self) -> None:
        if threading.get_ident() != self._alone:
            self._both.wait()


THREADS = (
    "called by two threads at once, it fails or returns other outputs than alone. "
    "Protect what they share with a lock."
)


def test_a_tool_that_mixes_up_two_threads_is_told() -> None:
    crossing = Crossing()
    shared: dict[str, float] = {}

    def run(given: Mapping[str, Any]) -> dict[str, Any]:
        shared["level"] = level(given)
        crossing.wait()
        answer = {"x": shared["level"]}
        crossing.wait()
        return answer

    (what,) = faults(run, {"x": "number"})

    assert what.split(": ", 1)[1] == THREADS


def test_a_tool_that_fails_in_two_threads_is_told() -> None:
    main = threading.get_ident()

    def run(given: Mapping[str, Any]) -> dict[str, Any]:
        if threading.get_ident() != main:
            raise RuntimeError
        return {"x": 1}

    assert faults(run, {"x": "number"}) == [f"frame '{FIRST}': {THREADS}"]


def test_several_faults_of_a_tool_are_all_told() -> None:
    chance = random.Random(1)

    def run(given: Mapping[str, Any]) -> dict[str, Any]:
        given["image"][:] = 0
        return {"text": 1, "x": chance.random(), "y": 1}

    assert [
        what.split(": ", 1)[1].split(" ")[:3] for what in faults(run, {"text": "text", "x": "number"})
    ] == [
        ["it", "changes", "its"],
        ["it", "returns", "'text',"],
        ["output", "'text'", "of"],
        ["called", "again,", "it"],
    ]


def test_an_input_of_a_known_type_is_an_example_for_the_frame() -> None:
    seen: list[Any] = []

    def run(given: Mapping[str, Any]) -> dict[str, Any]:
        seen.append(dict(given))
        return {"x": 1}

    assert faults(run, {"x": "number"}, {"crop": "image", "text": "text", "boxes": "detections"}) == []
    assert {given["crop"].shape[:2] for given in seen} == {frame.image.shape[:2] for frame in trial_frames()}
    assert {given["text"] for given in seen} == {"Größe 42\n字", ""}
    assert {len(given["boxes"]) for given in seen} == {0, 2}


@pytest.mark.parametrize("type_name", KNOWN_TYPES)
@pytest.mark.parametrize("found", [True, False])
def test_every_example_is_a_value_of_its_type(type_name: str, found: bool) -> None:
    known = KNOWN_TYPES[type_name]

    assert [known.fault(known.example(frame.image, found), frame.image) for frame in trial_frames()] == [
        None
    ] * 5


MAKES = (Tool(IMAGE, {"level": "level"}), lambda given: {"level": level(given)})
TAKES = (Tool({"level": "level"}, {"twice": "number"}), lambda given: {"twice": given["level"] * 2})
BADLY = (Tool({"level": "level"}, {"twice": "text"}), lambda given: {"twice": given["level"] * 2})


def test_an_input_of_another_type_comes_from_a_tool_that_gives_it() -> None:
    reports = checked(maker={"make": MAKES}, taker={"take": BADLY})

    twice = trial_frames()[0].image.mean() * 2
    assert [fault.what for fault in reports["taker"].faults] == [
        f"frame '{FIRST}': output 'twice' of type 'text': it is {twice}. Give a str."
    ]


def test_tools_feed_one_another_over_several_steps() -> None:
    middle = (Tool({"level": "level"}, {"half": "half"}), lambda given: {"half": given["level"] / 2})
    last = (Tool({"half": "half"}, {"x": "number"}), lambda given: {"y": 1})

    reports = checked(last={"last": last}, middle={"middle": middle}, maker={"make": MAKES})

    assert [(name, len(report.faults), report.notes) for name, report in reports.items()] == [
        ("last", 1, ()),
        ("middle", 0, ()),
        ("maker", 0, ()),
    ]


def test_a_tool_whose_input_nobody_gives_is_a_note_and_no_fault() -> None:
    report = checked(taker={"take": TAKES})["taker"]

    assert (report.faults, [str(note) for note in report.notes]) == (
        (),
        [
            "Plugin 'taker', tool 'take': not tried: no tool returns an input of type 'level'. "
            "Validate it with one that does."
        ],
    )


def test_tools_that_wait_for_each_other_are_not_tried() -> None:
    egg = (Tool({"hen": "hen"}, {"egg": "egg"}), lambda given: {"egg": 1})
    hen = (Tool({"egg": "egg"}, {"hen": "hen"}), lambda given: {"hen": 1})

    report = checked(farm={"egg": egg, "hen": hen})["farm"]

    assert (report.faults, len(report.notes)) == ((), 2)


def test_a_tool_that_fails_feeds_nobody() -> None:
    def fail(given: Mapping[str, Any]) -> dict[str, Any]:
        raise ValueError

    reports = checked(maker={"make": (MAKES[0], fail)}, taker={"take": TAKES})

    assert [len(reports[name].faults) for name in ("maker", "taker")] == [1, 0]
    assert len(reports["taker"].notes) == 1


def test_every_flaw_of_a_manifest_is_a_fault() -> None:
    class Nameless:
        manifest = Manifest("other", "", {"t": Tool(IMAGE, {"x": "number"})})

        def __init__(self, options: PluginOptions) -> None: ...

        def run_tool(self, tool: str, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
            return {}

    (report,) = check_plugins(PluginRegistry(PluginOptions(), {"p": Nameless}), ["p"])

    assert [str(fault) for fault in report.faults] == [
        "Plugin 'p': it is installed as 'p' but calls itself 'other'. Rename one.",
        "Plugin 'p': its version is ''. Give a text such as '1.0'.",
    ]


def test_a_plugin_that_cannot_be_loaded_does_not_keep_others_from_being_tried() -> None:
    def broken(options: PluginOptions) -> Plugin:
        raise OSError("no model")

    registry = PluginRegistry(
        PluginOptions(), {"bad": broken, "good": lambda options: Steps("good", {"make": MAKES})}
    )

    reports = check_plugins(registry, ["bad", "good", "none", "good"])

    assert [(report.name, report.tools, [str(fault) for fault in report.faults]) for report in reports] == [
        (
            "bad",
            (),
            [
                "Plugin 'bad' cannot be loaded. The log contains the reason; reinstalling it may help. "
                "[OSError: no model]"
            ],
        ),
        ("good", ("make",), []),
        ("none", (), ["There is no plugin 'none'. Known plugins: bad, good, ocr, yolo."]),
    ]


def test_the_plugins_that_come_along_have_no_faults() -> None:
    done = CliRunner().invoke(validate, ["plugins"], catch_exceptions=False)

    assert (done.exit_code, done.stderr) == (0, "")
    assert re.sub(r"\d+\.\d+(\+\w+)?", "N", done.stdout) == "ok ocr N: read\nok yolo N: detect\n"


def test_the_command_ends_with_1_and_one_line_for_each_fault() -> None:
    done = CliRunner().invoke(validate, ["plugins", "none", "neither"], catch_exceptions=False)

    assert (done.exit_code, done.stdout, done.stderr) == (
        1,
        "",
        "There is no plugin 'none'. Known plugins: ocr, yolo.\n"
        "There is no plugin 'neither'. Known plugins: ocr, yolo.\n",
    )
