"""Runs jobs with the pipeline's child process played by a script; store and storage are real."""

import base64
import json
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.support.records import new_job, stored
from videoqueue.jobs.types import ALL_OWNERS, Job
from videoqueue.sandbox.protocol import Begun, Report, Task
from videoqueue.sandbox.sandbox import Stopped
from videoqueue.services import Services
from videoqueue.worker.run_job import JobRunner

KEY = "inputs/" + "a" * 32 + ".mp4"
VIDEO = b"the bytes of a video"
ITEMS: list[Any] = [{"frame_index": index, "result": {"text": str(index)}} for index in range(4)]


class Script:
    """Plays the sandbox: begins under a version, yields what it is given, raises what it is given."""

    def __init__(self, *steps: Report | Exception | Callable[[], object], version: str = "a" * 64) -> None:
        self.steps = (Begun(version), *steps)
        self.tasks: list[Task] = []
        self.owners: list[str] = []
        self.video = b""

    def run(self, task: Task, should_stop: Callable[[], bool], owner: str = "") -> Iterator[Report]:
        self.tasks.append(task)
        self.owners.append(owner)
        self.video = Path(task.path).read_bytes()
        for step in self.steps:
            if isinstance(step, Exception):
                raise step
            if callable(step):
                step()
                if should_stop():
                    raise Stopped
            else:
                yield step


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def job_id(services: Services) -> uuid.UUID:
    store_video(services, VIDEO)
    return services.store.create(new_job(VIDEO, input_key=KEY))[0]


def store_video(services: Services, video: bytes) -> None:
    with services.storage.open_writer(KEY) as writer:
        writer.write(video)
        writer.commit()


class Run(Protocol):
    """Starts a runner with a script in place of a sandbox; returns what runs a job."""

    def __call__(
        self, script: Script, stopping: threading.Event | None = None
    ) -> Callable[[uuid.UUID], float | None]: ...


@pytest.fixture
def run(services: Services, folder: Path) -> Run:
    def start(script: Script, stopping: threading.Event | None = None) -> Callable[[uuid.UUID], float | None]:
        return JobRunner(services, script, lambda: folder, "test", stopping or threading.Event()).run  # type: ignore[arg-type]

    return start


def row(services: Services, job_id: uuid.UUID) -> Job:
    return stored(services.store, job_id)


def results(services: Services, job_id: uuid.UUID) -> list[Any]:
    found: list[Any] = json.loads(b"[" + b",".join(services.results.chunks(job_id, ALL_OWNERS)) + b"]")
    return found


def noise(size: int) -> str:
    """Letters that compression makes at most a quarter smaller."""
    return base64.b64encode(os.urandom(size)).decode()
