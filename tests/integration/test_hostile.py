"""A hundred hostile files and plugins in a row, good videos between them, through one worker's real parts.

Refused at submission or failed with a reason: every bad one. Completed with its golden items: every good one.
"""

from __future__ import annotations

import gc
import json
import re
import socket
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.support import misbehaving
from tests.support.hostile_files import Hostile, encode, hostile_files
from tests.support.records import new_job
from tests.support.videos import make_video
from videoqueue.api.extension import services_of
from videoqueue.app import create_app
from videoqueue.errors import InvalidVideoError
from videoqueue.jobs.tables import Base
from videoqueue.jobs.types import ALL_OWNERS
from videoqueue.mp4 import CheckLimits, Mp4Check
from videoqueue.sandbox.sandbox import Sandbox
from videoqueue.services import Services
from videoqueue.settings import load_settings
from videoqueue.worker.factory import make_sandbox
from videoqueue.worker.run_job import JobRunner

MEMORY = 512 * 1024**2
MOST_FRAMES = 60
#: What the worker may keep for good: caches of the libraries, not videos.
GROWTH = 48 * 1024**2

TERMINAL = ("completed", "failed")

PLUGIN_FAULTS = {
    "segfault": "SIGSEGV",
    "hang": "VIDEOQUEUE_STALL_TIMEOUT_SECONDS",
    "eat_memory": "VIDEOQUEUE_SANDBOX_MEMORY_BYTES",
    "abort_without_memory": "VIDEOQUEUE_SANDBOX_MEMORY_BYTES",
    "raise_error": "'raise_error'.* failed",
    "give_huge_result": "result of a frame is larger",
}


@dataclass
class Worker:
    """One worker's parts: submission's check, the job's row, the runner and its child process."""

    services: Services
    sandbox: Sandbox
    runner: JobRunner
    folder: Path

    def process(
        self, content: bytes, pipeline_id: str = "measure"
    ) -> tuple[str, str, list[dict[str, object]]]:
        """How it ends (refused, completed, failed), why, and the items."""
        try:
            settings = self.services.settings
            names = settings.setting_names
            limits = CheckLimits(pixels=settings.max_pixels, setting_names=names, **settings.check_limits)
            check = Mp4Check(limits)
            check.feed(content)
            check.finish()
        except InvalidVideoError as error:
            return "refused", str(error), []
        return self.process_unchecked(content, pipeline_id)

    def process_unchecked(
        self, content: bytes, pipeline_id: str = "measure"
    ) -> tuple[str, str, list[dict[str, object]]]:
        """As if submission had let it pass."""
        job_id = self._submit(content, pipeline_id)
        assert self.runner.run(job_id) is None, "the job waits for another try"
        job = self.services.store.get(job_id, ALL_OWNERS)
        assert job is not None
        items = json.loads(b"[" + b",".join(self.services.results.chunks(job_id, ALL_OWNERS)) + b"]")
        return job.status, job.error_message or "", items if job.status == "completed" else []

    def _submit(self, content: bytes, pipeline_id: str) -> uuid.UUID:
        key = f"inputs/{uuid.uuid4().hex}.mp4"
        with self.services.storage.open_writer(key) as writer:
            writer.write(content)
            writer.commit()
        return self.services.store.create(new_job(content, pipeline_id=pipeline_id, input_key=key))[0]


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    packages, pipelines = misbehaving.install(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(packages))
    settings = load_settings(
        {
            "VIDEOQUEUE_DATA_DIR": str(tmp_path / "data"),
            "REDIS_URL": "redis://127.0.0.1:1",  # nothing here talks to the queue
            "VIDEOQUEUE_PIPELINES_DIR": str(pipelines),
            "VIDEOQUEUE_MAX_PIXELS": str(320 * 240),
            "VIDEOQUEUE_MAX_FRAMES": str(MOST_FRAMES),
            "VIDEOQUEUE_MAX_CRASHES": "1",
            "VIDEOQUEUE_STALL_TIMEOUT_SECONDS": "10",
            "VIDEOQUEUE_SANDBOX_MEMORY_BYTES": str(MEMORY),
            "VIDEOQUEUE_INFERENCE_THREADS": "1",
        }
    )
    services = services_of(create_app(settings))
    Base.metadata.create_all(services.store.engine)
    sandbox = make_sandbox(settings)
    folder = tmp_path / "work"
    folder.mkdir()
    yield Worker(
        services, sandbox, JobRunner(services, sandbox, lambda: folder, "test", threading.Event()), folder
    )
    sandbox.close()
    services.store.engine.dispose()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def good_videos(folder: Path) -> list[tuple[bytes, int]]:
    """Content and number of frames of each."""
    return [
        (make_video(folder / "text.mp4", frames=7).read_bytes(), 7),
        (encode(folder / "good.mp4", [(64, 48)] * 12), 12),
        (encode(folder / "good.mp4", [(64, 48)] * 3 + [(128, 96)] * 3), 6),
    ]


def hostile_jobs(folder: Path, listener: socket.socket) -> list[tuple[Hostile, str]]:
    """Each with the pipeline it is submitted to."""
    secret = folder / "secret.ts"
    secret.write_text("top secret")
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    bad = [(file, "measure") for file in hostile_files(folder, url, secret, MOST_FRAMES)]
    video = good_videos(folder)[0][0]
    faults = [(Hostile(tool, video, reason), tool) for tool, reason in PLUGIN_FAULTS.items()]
    every = len(bad) // len(faults)
    for number, fault in enumerate(faults):
        bad.insert(number * (every + 1), fault)
    return bad


def test_a_hundred_hostile_files_do_no_harm(worker: Worker, listener: socket.socket, tmp_path: Path) -> None:
    process = psutil.Process()
    servers = set(process.children(recursive=True))  # other tests'
    bad, good = hostile_jobs(tmp_path, listener), good_videos(tmp_path)
    golden = [worker.process(content) for content, _ in good]
    assert [(how, len(items)) for how, _, items in golden] == [("completed", count) for _, count in good]
    gc.collect()
    before = process.memory_info().rss

    surprises, failed = [], 0
    for number, (file, pipeline_id) in enumerate(bad):
        how, why, _ = worker.process(file.content, pipeline_id)
        if how not in ("refused", "failed") or not re.search(file.reason, why):
            surprises.append((file.name, how, why))
        failed += how == "failed"
        if number % 3 == 0:
            which = number // 3 % len(good)
            assert worker.process(good[which][0]) == golden[which], f"after {file.name}"

    assert surprises == []
    assert (len(bad) >= 100, failed >= 25) == (True, True)  # the others were refused at submission
    assert [worker.process(content) for content, _ in good] == golden
    gc.collect()
    assert process.memory_info().rss - before < GROWTH
    assert all(child.memory_info().rss < MEMORY for child in set(process.children()) - servers)
    assert list(worker.folder.iterdir()) == []
    with pytest.raises(BlockingIOError):
        listener.accept()
    worker.sandbox.close()
    assert set(process.children(recursive=True)) - servers == set()


def test_the_child_alone_opens_nothing_that_a_file_names(
    worker: Worker, listener: socket.socket, tmp_path: Path
) -> None:
    secret = make_video(worker.folder / "secret.mp4", frames=2)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    lists = [file for file in hostile_files(tmp_path, url, secret, MOST_FRAMES) if file.follows]

    ends = {file.name: worker.process_unchecked(file.content)[0] for file in lists}

    assert len(ends) >= 10
    assert set(ends.values()) == {"failed"}
    with pytest.raises(BlockingIOError):
        listener.accept()
    assert list(worker.folder.iterdir()) == [secret]


def test_what_submission_refuses_does_the_child_no_harm_either(
    worker: Worker, listener: socket.socket, tmp_path: Path
) -> None:
    """A lie in the header may be harmless to the decoder; what counts is the next video."""
    content, _ = good_videos(tmp_path)[1]
    golden = worker.process(content)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    for file in hostile_files(tmp_path, url, tmp_path / "secret", MOST_FRAMES):
        assert worker.process_unchecked(file.content)[0] in TERMINAL, file.name

    assert worker.process(content) == golden
    assert all(child.memory_info().rss < MEMORY for child in psutil.Process().children())
    assert list(worker.folder.iterdir()) == []
