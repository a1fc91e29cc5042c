"""What a child may use, and what becomes of one that hangs, grows or runs out of memory. All for real."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

import videoqueue
from tests.support.sandboxes import limits_with, walls
from tests.support.stack import eventually
from tests.support.videos import make_video, spoil_samples
from videoqueue.errors import (
    JobTimeoutError,
    NoFrameError,
    OutOfMemoryError,
    PermanentError,
    SandboxCrashedError,
)
from videoqueue.pipeline_options import PipelineOptions
from videoqueue.sandbox.limits import data_bytes
from videoqueue.sandbox.protocol import Seen, Task
from videoqueue.sandbox.sandbox import Sandbox
from videoqueue.settings import load_settings
from videoqueue.settings.capacity import default_memory, default_threads
from videoqueue.worker.factory import make_sandbox

SAMPLE = Path(videoqueue.__path__[0]) / "cli" / "sample.mp4"
MEMORY = 512 * 1024**2
MakeSandbox = Callable[..., Sandbox]


@pytest.fixture
def sandbox_with(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeSandbox]:
    packages, pipelines = folders
    monkeypatch.setenv("PYTHONPATH", str(packages))
    made: list[Sandbox] = []

    def make(**limits: Any) -> Sandbox:
        options = PipelineOptions(pipelines_dir=str(pipelines), setting_names=load_settings({}).setting_names)
        made.append(Sandbox(options, limits_with(**{"memory_bytes": MEMORY} | limits), walls()))
        return made[-1]

    yield make
    for sandbox in made:
        sandbox.close()


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return make_video(tmp_path / "v.mp4", frames=3)


def frames(sandbox: Sandbox, video: Path, pipeline_id: str = "measure") -> list[int]:
    task = Task(path=str(video), pipeline_id=pipeline_id, frame_stride=1, max_frames=None, start_after=None)
    return [
        report.item["frame_index"] for report in sandbox.run(task, lambda: False) if isinstance(report, Seen)
    ]


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "videoqueue.sandbox.child" in child.cmdline()]


def the_child() -> psutil.Process:
    (child,) = children()
    return child


def test_a_child_has_its_limits_as_hard_limits(sandbox_with: MakeSandbox, video: Path) -> None:
    limits = limits_with(memory_bytes=MEMORY, file_bytes=1 << 20, open_files=64, jobs=3, job_seconds=10.0)
    frames(sandbox_with(**vars(limits)), video)
    child = the_child()
    cpu = 10 * (os.cpu_count() or 1) + 1
    assert child.rlimit(psutil.RLIMIT_DATA) == (MEMORY, MEMORY)
    assert child.rlimit(psutil.RLIMIT_AS) == (3 * MEMORY, 3 * MEMORY)
    assert child.rlimit(psutil.RLIMIT_FSIZE) == (1 << 20, 1 << 20)
    assert child.rlimit(psutil.RLIMIT_NOFILE) == (64, 64)
    assert child.rlimit(psutil.RLIMIT_CORE) == (0, 0)
    soft, hard = child.rlimit(psutil.RLIMIT_CPU)
    assert (cpu < soft <= 2 * cpu, hard) == (True, 3 * cpu)
    assert Path(f"/proc/{child.pid}/oom_score_adj").read_text() == "1000\n"


def test_each_job_has_processor_time_of_its_own(sandbox_with: MakeSandbox, video: Path) -> None:
    sandbox = sandbox_with(jobs=1_000_000)
    frames(sandbox, video)
    first, _ = the_child().rlimit(psutil.RLIMIT_CPU)
    while sum(the_child().cpu_times()[:2]) < 1.5:
        frames(sandbox, video)
    frames(sandbox, video)
    assert the_child().rlimit(psutil.RLIMIT_CPU)[0] > first


def test_the_settings_reach_the_child(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, video: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(folders[0]))
    sandbox = make_sandbox(
        load_settings(
            {
                "VIDEOQUEUE_DATA_DIR": str(tmp_path),
                "VIDEOQUEUE_PIPELINES_DIR": str(folders[1]),
                "VIDEOQUEUE_SANDBOX_MEMORY_BYTES": str(MEMORY),
                "VIDEOQUEUE_SANDBOX_FILE_BYTES": "4096",
                "VIDEOQUEUE_SANDBOX_OPEN_FILES": "50",
                "VIDEOQUEUE_MAX_FRAMES": "3",
            }
        )
    )
    try:
        assert frames(sandbox, video) == [0, 1, 2]
        child = the_child()
        assert child.rlimit(psutil.RLIMIT_DATA) == (MEMORY, MEMORY)
        assert child.rlimit(psutil.RLIMIT_FSIZE) == (4096, 4096)
        assert child.rlimit(psutil.RLIMIT_NOFILE) == (50, 50)
        with pytest.raises(PermanentError, match=r"more than 3 frames \(VIDEOQUEUE_MAX_FRAMES\)"):
            frames(sandbox, make_video(tmp_path / "long.mp4", frames=4))
    finally:
        sandbox.close()


def test_a_file_larger_than_allowed_cannot_be_written(sandbox_with: MakeSandbox, video: Path) -> None:
    with pytest.raises(PermanentError, match=r"'write_large_file'.* failed"):
        frames(sandbox_with(file_bytes=32 << 10), video, "write_large_file")
    assert frames(sandbox_with(file_bytes=128 << 10), video, "write_large_file") == [0, 1, 2]


def test_a_child_without_a_sign_of_life_is_ended(sandbox_with: MakeSandbox, video: Path) -> None:
    sandbox = sandbox_with(stall_seconds=10.0)
    assert frames(sandbox, video) == [0, 1, 2]
    hung = the_child()
    with pytest.raises(
        SandboxCrashedError, match=r"no progress for 10 seconds \(VIDEOQUEUE_STALL_TIMEOUT_SECONDS\)"
    ):
        frames(sandbox, video, "hang")
    assert not hung.is_running()
    assert frames(sandbox, video) == [0, 1, 2]


def test_a_segfault_names_its_signal(sandbox_with: MakeSandbox, video: Path) -> None:
    with pytest.raises(SandboxCrashedError, match="was killed by SIGSEGV"):
        frames(sandbox_with(), video, "segfault")


@pytest.mark.parametrize("pipeline_id", ["eat_memory", "abort_without_memory"])
def test_running_out_of_memory_is_final_and_names_the_setting(
    sandbox_with: MakeSandbox, video: Path, pipeline_id: str
) -> None:
    with pytest.raises(OutOfMemoryError, match=rf"{MEMORY} bytes \(VIDEOQUEUE_SANDBOX_MEMORY_BYTES\)"):
        frames(sandbox_with(), video, pipeline_id)
    assert children() == []


def test_what_a_used_child_has_no_memory_for_is_done_by_a_fresh_one(
    sandbox_with: MakeSandbox, video: Path
) -> None:
    sandbox = sandbox_with()
    assert frames(sandbox, video, "hoard") == [0, 1, 2]
    used = the_child()
    assert frames(sandbox, video, "need") == [0, 1, 2]
    assert the_child() != used


def test_a_video_without_a_frame_is_tried_in_a_fresh_child_and_then_final(
    sandbox_with: MakeSandbox, tmp_path: Path, video: Path
) -> None:
    empty = make_video(tmp_path / "empty.mp4", frames=3)
    content = empty.read_bytes()
    # The picture's track gets another kind of table of chunks, which no one knows: its samples are nowhere.
    empty.write_bytes(content.replace(b"stco", b"stcx"))
    sandbox = sandbox_with()
    frames(sandbox, video)
    used = the_child()
    with pytest.raises(NoFrameError, match=r"\(VIDEOQUEUE_SANDBOX_MEMORY_BYTES\)"):
        frames(sandbox, empty)
    fresh = the_child()
    assert fresh != used
    assert frames(sandbox, video) == [0, 1, 2]
    assert the_child() == fresh


def test_a_child_is_replaced_after_its_number_of_jobs(sandbox_with: MakeSandbox, video: Path) -> None:
    sandbox = sandbox_with(jobs=2)
    seen = []
    for _ in range(2):
        frames(sandbox, video)
        seen.append([child.pid for child in children()])
    assert (len(seen[0]), seen[1]) == (1, [])
    assert frames(sandbox, video) == [0, 1, 2]


def test_a_child_that_keeps_too_much_memory_is_replaced(sandbox_with: MakeSandbox, video: Path) -> None:
    sandbox = sandbox_with()
    assert frames(sandbox, video, "hoard") == [0, 1, 2]
    assert len(children()) == 1  # what is reserved takes nothing from others
    sandbox.close()
    assert frames(sandbox, video, "grow") == [0, 1, 2]
    assert children() == []


def test_a_failing_plugin_or_video_does_not_cost_the_child(
    sandbox_with: MakeSandbox, video: Path, tmp_path: Path
) -> None:
    sandbox = sandbox_with()
    with pytest.raises(PermanentError, match="'raise_error'"):
        frames(sandbox, video, "raise_error")
    child = the_child()
    with pytest.raises(PermanentError, match="cannot be decoded"):
        frames(sandbox, spoil_samples(make_video(tmp_path / "bad.mp4")))
    assert the_child() == child


def test_a_result_too_large_is_refused(sandbox_with: MakeSandbox, video: Path) -> None:
    with pytest.raises(PermanentError, match="result of a frame is larger than 16777216 bytes"):
        frames(sandbox_with(), video, "give_huge_result")


def test_what_stops_a_task_from_outside_costs_the_child(sandbox_with: MakeSandbox, video: Path) -> None:
    """A permanent error of the worker's own leaves a child in the middle of a video."""
    sandbox = sandbox_with()
    asked = iter([False, False])

    def should_stop() -> bool:
        try:
            return next(asked)
        except StopIteration:
            raise JobTimeoutError("too long") from None

    task = Task(path=str(video), pipeline_id="measure", frame_stride=1, max_frames=None, start_after=None)
    with pytest.raises(JobTimeoutError):
        list(sandbox.run(task, should_stop))
    assert children() == []


def test_a_child_reserves_little_memory_for_threads(sandbox_with: MakeSandbox, video: Path) -> None:
    """NumPy starts one for each core, and stacks of 8 MiB count although nothing is in them."""
    frames(sandbox_with(), video)
    # The kernel counts a thread for a moment longer than Python.
    eventually(lambda: the_child().num_threads() == 1, "the child has one thread")
    assert data_bytes(the_child().pid) < 100 << 20


@pytest.mark.parametrize("mebibytes", [64, 128, 192, 256, 320, 384, 448, 512])
def test_the_real_pipeline_without_enough_memory_always_says_so(mebibytes: int) -> None:
    """Whoever notices first: Python, NumPy, OpenBLAS, OpenCV, OpenVINO, the dynamic linker, or no one."""
    limits = limits_with(memory_bytes=mebibytes << 20, stall_seconds=20.0)
    with (
        closing(Sandbox(PipelineOptions(inference_threads=2), limits)) as sandbox,
        pytest.raises(
            OutOfMemoryError, match=rf"{mebibytes << 20} bytes \(VIDEOQUEUE_SANDBOX_MEMORY_BYTES\)"
        ),
    ):
        frames(sandbox, SAMPLE, "yolo_ocr")


@pytest.mark.parametrize(("machine", "cores"), [(1 << 30, 64), (64 << 30, 64)], ids=["1-gib", "64-gib"])
def test_1080p_is_read_with_the_defaults_of_a_small_and_of_a_large_machine(
    tmp_path: Path, machine: int, cores: int
) -> None:
    memory = default_memory(machine, 1, 1)
    threads = default_threads(cores, 1, memory)
    full_hd = make_video(tmp_path / "hd.mp4", "1080 LINES", frames=24, size=(1920, 1080), moving=True)
    with closing(
        Sandbox(PipelineOptions(inference_threads=threads), limits_with(memory_bytes=memory))
    ) as sandbox:
        assert frames(sandbox, full_hd, "yolo_ocr") == list(range(24))
        assert the_child().memory_info().rss < memory
