"""What a real child uses and the kernel does not limit: all temporary files together, and shared memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.sandboxes import limits_with, walls
from tests.support.videos import make_video
from videoqueue.errors import OutOfMemoryError, PermanentError
from videoqueue.pipeline_options import PipelineOptions
from videoqueue.sandbox.protocol import Seen, Task
from videoqueue.sandbox.sandbox import Sandbox
from videoqueue.sandbox.scratch import used_bytes

MOST = 4 << 20
WAYS = ("files", "names", "depth", "closed folders", "deleted files", "mapped files")


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return make_video(tmp_path / "v.mp4", frames=2)


@contextmanager
def sandbox_that_fills(folders: tuple[Path, Path], work: Path, way: str) -> Iterator[Sandbox]:
    work.mkdir()
    options = PipelineOptions(
        pipelines_dir=str(folders[1]), plugin_values={"misbehaving.says": way.encode().hex()}
    )
    # Where the limit did not hold, the job would end after 30 seconds without a frame.
    limits = limits_with(scratch_bytes=MOST, file_bytes=1 << 20, open_files=600, stall_seconds=30.0)
    with closing(Sandbox(options, limits, walls(), lambda: work)) as sandbox:
        yield sandbox


def frames(sandbox: Sandbox, video: Path, pipeline_id: str) -> list[int]:
    task = Task(path=str(video), pipeline_id=pipeline_id, frame_stride=1, max_frames=None, start_after=None)
    return [
        report.item["frame_index"] for report in sandbox.run(task, lambda: False) if isinstance(report, Seen)
    ]


@pytest.mark.parametrize("way", WAYS)
def test_a_job_whose_temporary_files_are_too_large_together_ends_and_harms_nothing_else(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, video: Path, way: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(folders[0]))
    work = tmp_path / "work"
    with sandbox_that_fills(folders, work, way) as sandbox:
        (work / "other").write_text("of another job")
        with pytest.raises(PermanentError) as failed:
            frames(sandbox, video, "fill_scratch")
        assert failed.value.code == "limit_exceeded"
        assert f"{MOST} bytes of temporary files (VIDEOQUEUE_SANDBOX_SCRATCH_BYTES)" in str(failed.value)
        # A thread removes what exceeds the first 1,000 entries.
        assert frames(sandbox, video, "measure") == [0, 1]
        assert (work / "other").exists()


def test_memory_that_a_plugin_could_share_counts_as_memory_of_the_child(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, video: Path
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(folders[0]))
    limits = limits_with(memory_bytes=400 << 20, stall_seconds=30.0)
    options = PipelineOptions(pipelines_dir=str(folders[1]))
    with (
        closing(Sandbox(options, limits, walls(), lambda: tmp_path)) as sandbox,
        pytest.raises(OutOfMemoryError, match=rf"{400 << 20} bytes \(VIDEOQUEUE_SANDBOX_MEMORY_BYTES\)"),
    ):
        frames(sandbox, video, "share_memory")


def test_files_within_the_limit_cost_nothing(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, video: Path
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(folders[0]))
    with sandbox_that_fills(folders, tmp_path / "work", "") as sandbox:
        assert frames(sandbox, video, "write_large_file") == [0, 1]


def test_each_file_and_folder_counts_as_what_it_takes_or_may_take(tmp_path: Path) -> None:
    folder = tmp_path / "scratch"
    folder.mkdir()

    def used() -> int:
        return sum(used_bytes(str(folder), os.getpid(), 1 << 20))

    assert used() == 0
    (folder / "empty").touch()
    assert used() == 4096
    with (folder / "sparse").open("wb") as sparse:
        sparse.truncate(100_000)
        assert used() == 104_096
        (folder / "sparse").unlink()
        assert used() == 104_096, "its space is used until it is closed"
    assert used() == 4096
    (folder / "a" / "b" / "c").mkdir(parents=True)
    assert used() == 4096 * (1 + 1 + 2 + 3)
    (folder / "link").symlink_to("/usr")
    assert used() == 4096 * 8
