"""A child taken over by hostile bytes: whatever it sends or prints, the attempt ends with a clear error."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.log_lines import LogLines
from tests.support.sandboxes import limits_with, walls
from tests.support.videos import make_video
from videoqueue.errors import PermanentError, SandboxCrashedError
from videoqueue.jobs.results import encode
from videoqueue.pipeline.results import FrameItem
from videoqueue.pipeline_options import PipelineOptions
from videoqueue.sandbox.access import Access
from videoqueue.sandbox.protocol import LENGTH, Seen, Task
from videoqueue.sandbox.sandbox import Sandbox

NASTY = "first\nsecond \x1b[2J\x00\x9b\ud800\u202e end"
LABEL = "[job_id=1234 attempt=7] "
#: An item as an honest child sends it, but for what a test changes.
ITEM = {"frame_index": 0, "result": {"brightness": 1, "timestamp": 0.0}}

MakeSandbox = Callable[..., Sandbox]


@pytest.fixture
def saying(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeSandbox]:
    """Makes a sandbox whose plugin sends, prints or raises the given bytes."""
    monkeypatch.setenv("PYTHONPATH", str(folders[0]))
    made: list[Sandbox] = []

    def make(says: bytes | str = b"", access: Access | None = None, **limits: Any) -> Sandbox:
        given = says.encode("utf-8", "surrogatepass") if isinstance(says, str) else says
        values = {"misbehaving.says": given.hex()}
        options = PipelineOptions(pipelines_dir=str(folders[1]), plugin_values=values)
        made.append(Sandbox(options, limits_with(**limits), access or walls()))
        return made[-1]

    yield make
    for sandbox in made:
        sandbox.close()


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return make_video(tmp_path / "v.mp4", frames=3)


def items(sandbox: Sandbox, video: Path, pipeline_id: str) -> list[FrameItem]:
    task = Task(
        path=str(video),
        pipeline_id=pipeline_id,
        frame_stride=1,
        max_frames=None,
        start_after=None,
        job_id="1234",
        attempt=7,
    )
    return [report.item for report in sandbox.run(task, lambda: False) if isinstance(report, Seen)]


def framed(message: object) -> bytes:
    data = message if isinstance(message, bytes) else json.dumps(message).encode()
    return LENGTH.pack(len(data)) + data


def printed_lines(log_lines: LogLines) -> list[str]:
    """What children have printed, without the job that each line must name."""
    found = [line for line in log_lines.written if line.startswith("[job_id=")]
    assert all(re.fullmatch(r"[^\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]*", line) for line in found)
    assert all(line.startswith(LABEL[:-2]) for line in found)
    return [line.removeprefix(LABEL) for line in found]


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\x00\x00\x00",
        framed(b"\xff\xfe"),
        framed(b"[" * 10_000),
        framed(b'{"type": "alive", "progress": NaN}'),
        framed({"type": ["done"]}),
        framed({"type": {"done": 1}}),
        framed({"type": "alive", "progress": True}),
        framed(b'{"type": "alive", "progress": 1e999}'),
        framed({"type": "bad_video", "code": "internal_error", "message": "x"}),
        framed({"type": "failed", "message": ["x"]}),
        framed({"type": "item", "item": ITEM | {"frame_index": True}}),
        framed({"type": "item", "item": ITEM | {"frame_index": 10**30}}),
        framed({"type": "item", "item": ITEM | {"result": {"timestamp": None}}}),
        framed(b'{"type": "item", "item": {"frame_index": 0, "result": {"timestamp": 1e999}}}'),
        framed(json.dumps({"type": "item", "item": ITEM}).replace("1", "[" * 400 + "]" * 400).encode()),
    ],
)
def test_a_message_that_makes_no_sense_ends_the_child_and_says_so(
    saying: MakeSandbox, video: Path, sent: bytes
) -> None:
    sandbox = saying(sent)
    with pytest.raises(SandboxCrashedError, match="sent a message that makes no sense"):
        items(sandbox, video, "send_bytes")
    assert not any("sandbox.child" in " ".join(child.cmdline()) for child in psutil.Process().children())


def test_what_a_child_says_between_two_jobs_is_not_taken_for_the_second(
    saying: MakeSandbox, video: Path
) -> None:
    """A `done` of its own, and behind it the messages of the rest of the video."""
    sandbox = saying(framed({"type": "done"}))
    items(sandbox, video, "send_bytes")
    assert [item["frame_index"] for item in items(sandbox, video, "measure")] == [0, 1, 2]


def test_the_words_of_a_plugin_are_cut_and_cleaned(saying: MakeSandbox, video: Path) -> None:
    with pytest.raises(PermanentError) as caught:
        items(saying(NASTY + "x" * 50_000), video, "raise_words")
    assert len(str(caught.value)) == 1000
    assert "failed: first second \ufffd[2J\ufffd\ufffd\ufffd\ufffd endxxx" in str(caught.value)


def test_a_text_in_a_result_stays_as_it_is_but_for_lone_surrogates(saying: MakeSandbox, video: Path) -> None:
    found = items(saying(NASTY), video, "give_text")
    assert [dict(item["result"])["brightness"] for item in found] == [NASTY.replace("\ud800", "\ufffd")] * 3
    assert json.loads(f"[{encode(found).decode()}]") == found


def test_a_result_nested_too_deep_is_the_plugins_fault(saying: MakeSandbox, video: Path) -> None:
    with pytest.raises(
        PermanentError, match=r"plugin 'misbehaving'\) returned a value .* nested at most 32 deep"
    ):
        items(saying(), video, "give_deep_list")


def test_what_a_child_prints_cannot_be_taken_for_the_workers_own_lines(
    saying: MakeSandbox, video: Path, log_lines: LogLines, capfd: pytest.CaptureFixture[str]
) -> None:
    printed = "\x1b[2J\r[2026-01-01] [INFO] Job completed. job_id=other\nno end"
    assert len(items(saying(printed), video, "print_text")) == 3
    assert printed_lines(log_lines) == [
        "\\x1b[2J",
        "[2026-01-01] [INFO] Job completed. job_id=other",
        "no end",
    ]
    assert capfd.readouterr().err == ""


def test_a_flood_of_output_is_bounded_and_its_end_is_shown(
    saying: MakeSandbox, video: Path, log_lines: LogLines
) -> None:
    assert len(items(saying(log_lines=50), video, "print_flood")) == 3
    shown = printed_lines(log_lines)
    assert len(shown) == 151
    assert shown[49].startswith("number 49 ")
    assert re.fullmatch(r"\d{6} lines left out: more than 50 .*", shown[50])
    assert shown[-1] == "the last word"
    assert re.fullmatch(r"(no end)+.* \.\.\. \(\d+ more bytes\)", shown[-2])


def test_a_failing_plugins_lines_name_job_attempt_node_plugin_tool_and_reason(
    saying: MakeSandbox, video: Path, log_lines: LogLines
) -> None:
    with pytest.raises(PermanentError) as caught:
        items(saying(), video, "raise_error")
    assert "own mistake" not in str(caught.value)
    line, *_ = log_lines.having("A plugin failed.")  # one for each frame that failed at once
    head, *trace = line.split("\n    ")
    assert head == ("[job_id=1234 attempt=7 node=run plugin=misbehaving tool=raise_error] A plugin failed.")
    assert trace[-1] == "ValueError: a plugin's own mistake"
    assert any("in raise_error" in line for line in trace)


def test_a_process_that_a_plugin_left_behind_does_not_hold_up_the_end_of_its_child(
    saying: MakeSandbox, video: Path
) -> None:
    sandbox = saying(access=Access(mode="off"))  # nothing can be left behind otherwise
    assert len(items(sandbox, video, "linger")) == 3
    sandbox.close()
    left = [
        process
        for process in psutil.process_iter(["cmdline"])
        if "import time; time.sleep(30)" in (process.info["cmdline"] or [])
    ]
    assert left, "it outlives its child"
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
