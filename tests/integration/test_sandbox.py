"""The child process, for real: what it reports, how its death is told, and what it may know."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.sandboxes import limits_with, walls
from tests.support.stack import eventually, wait_until_gone
from tests.support.videos import make_video, spoil_samples
from videoqueue.errors import InvalidVideoError, PermanentError, SandboxCrashedError
from videoqueue.launch import child_environment
from videoqueue.pipeline_options import PipelineOptions
from videoqueue.sandbox.process import ChildProcess
from videoqueue.sandbox.protocol import Begun, Ended, Report, Seen, Task
from videoqueue.sandbox.room import Room
from videoqueue.sandbox.sandbox import Sandbox, Stopped
from videoqueue.settings import load_settings
from videoqueue.worker.factory import make_sandbox


@pytest.fixture
def sandbox(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    packages, pipelines = folders
    monkeypatch.setenv("PYTHONPATH", str(packages))
    sandbox = Sandbox(
        PipelineOptions(inference_threads=1, max_pixels=1920 * 1080, pipelines_dir=str(pipelines)),
        limits_with(),
        walls(),
    )
    yield sandbox
    sandbox.close()


def task(path: Path, **changes: Any) -> Task:
    given: dict[str, Any] = {
        "pipeline_id": "ocr_only",
        "frame_stride": 1,
        "max_frames": None,
        "start_after": None,
    }
    return Task(path=str(path), **given | changes)


def never() -> bool:
    return False


def children() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children()
        if any("sandbox.child" in word for word in child.cmdline())
    ]


def frames(sandbox: Sandbox, wanted: Task) -> list[int]:
    return [report.item["frame_index"] for report in sandbox.run(wanted, never) if isinstance(report, Seen)]


def test_a_task_reports_its_frames_and_the_child_serves_the_next(sandbox: Sandbox, tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4", frames=5)
    assert frames(sandbox, task(video, frame_stride=2)) == [0, 2, 4]
    (child,) = children()
    assert frames(sandbox, task(video, start_after=2)) == [3, 4]
    assert children() == [child]


def test_a_child_serves_one_owner(sandbox: Sandbox, tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4", frames=2)
    served = []
    for owner in ("", "", "anna", "anna", "", "ben"):
        before = children()
        list(sandbox.run(task(video, pipeline_id="measure"), never, owner))
        served.append(children() == before)
    assert served == [False, True, False, True, False, False]
    assert len(children()) == 1


def test_a_child_is_confined_before_it_imports_anything_large(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "import videoqueue.sandbox.child\n"
        "large = {'numpy', 'av', 'cv2', 'openvino', 'rapidocr', 'ssl', 'sqlalchemy'}\n"
        "print(sorted(large & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_folders_of_a_child_are_removed_with_it(sandbox: Sandbox, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    video = make_video(work / "v.mp4", frames=1)
    own = Sandbox(PipelineOptions(), limits_with(), folder=lambda: work)
    with closing(own):
        frames(own, task(video))
        frames(own, task(video))
        (room,) = work.glob("child-*")
        assert sorted(path.relative_to(room) for path in room.rglob("*")) == [Path("input"), Path("scratch")]
    assert list(work.iterdir()) == [video]


def test_a_child_that_leaves_very_many_files_completes_its_task_and_serves_no_other(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    video = make_video(tmp_path / "v.mp4", frames=1)
    assert frames(sandbox, task(video, pipeline_id="leave_files")) == [0]
    assert children() == []
    assert frames(sandbox, task(video, pipeline_id="measure")) == [0]


def test_a_video_that_cannot_be_linked_is_read_by_a_new_child(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = make_video(tmp_path / "v.mp4", frames=2)
    assert frames(sandbox, task(video)) == [0, 1]
    first = children()

    def refuse(source: object, target: object) -> None:
        raise OSError(errno.EPERM, "a file system without hard links")

    monkeypatch.setattr(os, "link", refuse)
    assert frames(sandbox, task(video)) == [0, 1]
    assert children() != first


def test_the_limits_of_the_check_are_the_same_in_the_child(tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4", frames=3)
    limits = {"VIDEOQUEUE_MAX_SAMPLES": "2", "VIDEOQUEUE_INFERENCE_THREADS": "1"}
    limited = make_sandbox(load_settings(limits))
    try:
        with pytest.raises(InvalidVideoError, match=r"at most 2 are accepted \(VIDEOQUEUE_MAX_SAMPLES\)"):
            frames(limited, task(video))
    finally:
        limited.close()


def versions(reports: list[Report]) -> list[str]:
    return [report.version for report in reports if isinstance(report, Begun)]


def test_the_version_is_reported_before_the_first_frame_and_is_that_of_every_process(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    video = make_video(tmp_path / "v.mp4", frames=2)
    first = list(sandbox.run(task(video, pipeline_id="measure"), never))
    sandbox.close()
    second = list(sandbox.run(task(video, pipeline_id="measure"), never))
    other = list(sandbox.run(task(video, pipeline_id="dawdle"), never))
    (version,) = versions(first)
    assert versions(second) == [version]
    assert versions(other) != [version]
    kinds = [type(report) for report in first if isinstance(report, Begun | Seen)]
    assert kinds == [Begun, Seen, Seen]


def test_a_task_under_another_version_begins_with_the_first_frame(sandbox: Sandbox, tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4", frames=4)
    resumed = task(video, pipeline_id="measure", start_after=1)
    (version,) = versions(list(sandbox.run(resumed, never)))
    assert frames(sandbox, replace(resumed, version=version)) == [2, 3]
    assert frames(sandbox, replace(resumed, version="0" * 64)) == [0, 1, 2, 3]


@pytest.mark.parametrize("is_intact", [True, False], ids=["intact", "damaged"])
def test_a_task_ends_with_what_is_known_of_the_video(
    sandbox: Sandbox, tmp_path: Path, is_intact: bool
) -> None:
    video = make_video(tmp_path / "v.mp4", frames=5)
    if not is_intact:
        spoil_samples(video)
    reports: list[Report] = []

    def take_all() -> None:
        for report in sandbox.run(task(video), never):
            reports.append(report)

    if is_intact:
        take_all()
    else:
        with pytest.raises(InvalidVideoError):
            take_all()
    ended = reports[-1]
    assert isinstance(ended, Ended)
    assert (ended.video.codec, ended.video.fps, ended.video.duration) == ("h264", 10, 0.5)


def test_a_bad_video_is_told_and_does_not_cost_the_child(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(InvalidVideoError, match="cannot be decoded"):
        frames(sandbox, task(spoil_samples(make_video(tmp_path / "bad.mp4"))))
    (child,) = children()
    assert frames(sandbox, task(make_video(tmp_path / "good.mp4", frames=1))) == [0]
    assert children() == [child]


def test_an_unknown_pipeline_is_permanent(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="nonsense"):
        frames(sandbox, task(make_video(tmp_path / "v.mp4"), pipeline_id="nonsense"))


def test_a_killed_child_is_a_crash_with_its_signal_and_the_next_task_gets_a_new_one(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    video = make_video(tmp_path / "v.mp4", frames=50)
    reports = sandbox.run(task(video, pipeline_id="dawdle"), never)
    next(reports)
    (child,) = children()
    child.send_signal(signal.SIGSEGV)
    with pytest.raises(SandboxCrashedError, match="killed by SIGSEGV"):
        list(reports)
    assert frames(sandbox, task(video, max_frames=1)) == [0]
    assert children() != [child]


def test_stopping_ends_the_child_at_once(sandbox: Sandbox, tmp_path: Path) -> None:
    seen: list[object] = []
    video = make_video(tmp_path / "v.mp4", frames=50)
    reports = sandbox.run(task(video, pipeline_id="dawdle"), lambda: bool(seen))
    seen.append(next(reports))
    below = children()
    with pytest.raises(Stopped):
        list(reports)
    wait_until_gone(below)


def test_term_does_not_end_a_child_by_itself(sandbox: Sandbox, tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4", frames=4)
    reports = sandbox.run(task(video, pipeline_id="dawdle"), never)
    next(reports)
    children()[0].terminate()
    assert len([report for report in reports if isinstance(report, Seen)]) >= 3


@pytest.mark.parametrize("free", range(6))  # its three pipes take six
def test_a_child_that_cannot_be_started_leaves_no_open_file(tmp_path: Path, free: int) -> None:
    video = make_video(tmp_path / "v.mp4", frames=1)
    room = Room(tmp_path, str(video))
    cell = walls().cell(PipelineOptions(), str(room.scratch), room.inputs, False)
    with only_free_files(free) as limit:
        before = open_files(limit)
        with pytest.raises(OSError, match="Too many open files"):
            ChildProcess(PipelineOptions(), limits_with(), cell, room)
        assert open_files(limit) == before


@contextmanager
def only_free_files(free: int) -> Iterator[int]:
    """This process can open so many more files. Yields the limit, which is above all open ones."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir()) + 10
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    taken = []
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        for _ in range(free):
            os.close(taken.pop())
        yield limit
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def open_files(limit: int) -> list[int]:
    """The open file descriptors of this process. Listing /proc would need one more."""
    found = []
    for fd in range(limit):
        with suppress(OSError):
            os.fstat(fd)
            found.append(fd)
    return found


def test_a_child_sees_no_secrets() -> None:
    environ = {
        "PATH": "/bin",
        "DATABASE_URL": "x",
        "REDIS_URL": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "TOKEN": "x",
    }
    assert set(child_environment(environ)) == {
        "PATH",
        "PYTHONPATH",
        "MALLOC_ARENA_MAX",
        "OPENBLAS_NUM_THREADS",
        "PYTHONDONTWRITEBYTECODE",
    }


def test_a_child_dies_with_the_process_that_started_it(folders: tuple[Path, Path], tmp_path: Path) -> None:
    packages, pipelines = folders
    video = make_video(tmp_path / "v.mp4", frames=500)
    code = (
        "from videoqueue.sandbox.protocol import Task\n"
        "from videoqueue.settings import load_settings\n"
        "from videoqueue.worker.factory import make_sandbox\n"
        f"task = Task(path={str(video)!r}, pipeline_id='dawdle', frame_stride=1, "
        "max_frames=None, start_after=None)\n"
        f"settings = load_settings({{'VIDEOQUEUE_PIPELINES_DIR': {str(pipelines)!r}}})\n"
        "for report in make_sandbox(settings).run(task, lambda: False): pass\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(packages), *sys.path])},
    )
    process = psutil.Process(parent.pid)
    eventually(lambda: process.children(recursive=True), "the child is started")
    below = process.children(recursive=True)
    parent.kill()
    parent.wait()
    wait_until_gone(below)
