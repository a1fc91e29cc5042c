"""How `run_job` decides, with the pipeline's child process played by a script; store and storage are real."""

import json
import logging
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from records import new_job

from videoqueue.errors import (
    DatabaseUnavailableError,
    InvalidVideoError,
    SandboxCrashedError,
    StorageUnavailableError,
)
from videoqueue.jobs.models import Job
from videoqueue.pipeline.video_info import VideoInfo
from videoqueue.services import Services
from videoqueue.worker.protocol import Alive, Ended, Seen, Task
from videoqueue.worker.run_job import JobRunner
from videoqueue.worker.sandbox import Stopped

VIDEO = b"the bytes of a video"
ITEMS = [{"frame_index": index, "result": {"text": str(index)}} for index in range(4)]


class Script:
    """Plays the sandbox: yields what it is given, raises what it is given."""

    def __init__(self, *steps: object) -> None:
        self.steps = steps
        self.tasks: list[Task] = []
        self.video = b""

    def run(self, task: Task, should_stop: Callable[[], bool]) -> Iterator[Seen | Alive]:
        self.tasks.append(task)
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
    with services.storage.open_writer("inputs/" + "a" * 32 + ".mp4") as writer:
        writer.write(VIDEO)
        writer.commit()
    return services.store.create(new_job(input_key="inputs/" + "a" * 32 + ".mp4", input_bytes=len(VIDEO)))[0]


@pytest.fixture
def run(services: Services, folder: Path):
    def start(script: Script, stopping: threading.Event | None = None) -> Callable[[uuid.UUID], float | None]:
        return JobRunner(services, script, folder, "test", stopping or threading.Event()).run  # type: ignore[arg-type]

    return start


def row(services: Services, job_id: uuid.UUID) -> sa.Row:
    job = services.store.get(job_id)
    assert job is not None
    return job


def results(services: Services, job_id: uuid.UUID) -> list[dict]:
    return json.loads(b"[" + b",".join(services.results.chunks(job_id)) + b"]")


def test_a_job_is_downloaded_processed_and_completed(services, folder, job_id, run) -> None:
    script = Script(*map(Seen, ITEMS))
    assert run(script)(job_id) is None
    job = row(services, job_id)
    assert (job.status, job.progress, job.attempt) == ("completed", 1.0, 1)
    assert results(services, job_id) == ITEMS
    assert script.video == VIDEO
    assert script.tasks[0].start_after is None
    assert list(folder.iterdir()) == []


def test_a_bad_video_fails_at_once_with_its_reason(services, folder, job_id, run) -> None:
    assert run(Script(InvalidVideoError("truncated_mp4", "It ends early.")))(job_id) is None
    job = row(services, job_id)
    assert (job.status, job.error_message, job.failures) == ("failed", "It ends early.", 0)
    assert list(folder.iterdir()) == []


def test_a_crash_is_counted_and_tried_again(services, job_id, run) -> None:
    delay = run(Script(Seen(ITEMS[0]), SandboxCrashedError("The process was killed by SIGSEGV.")))(job_id)
    job = row(services, job_id)
    assert delay == services.settings.crash_retry_seconds
    assert (job.status, job.crashes, job.failures) == ("pending", 1, 0)
    assert "SIGSEGV" in job.error_message


def test_storage_that_is_away_is_counted_as_a_failure_and_backs_off(
    services, job_id, run, monkeypatch
) -> None:
    def away(key: str, path: Path) -> None:
        raise StorageUnavailableError("Storage is away.")

    monkeypatch.setattr(services.storage, "download", away)
    delays = []
    for _ in range(3):
        delays.append(run(Script())(job_id))
        with services.store.engine.begin() as connection:
            connection.execute(sa.update(Job).values(run_after=0))
    assert delays == [5.0, 10.0, 20.0]
    assert (row(services, job_id).failures, row(services, job_id).crashes) == (3, 0)


def test_a_video_that_is_gone_from_storage_fails(services, job_id, run) -> None:
    services.storage.delete("inputs/" + "a" * 32 + ".mp4")
    assert run(Script())(job_id) is None
    assert row(services, job_id).status == "failed"


def test_a_full_disk_is_told_tried_again_and_leaves_nothing(services, folder, job_id, run) -> None:
    (folder / f"{job_id}.mp4").symlink_to("/dev/full")  # writing there fails as on a full disk
    assert run(Script())(job_id) == 5.0
    job = row(services, job_id)
    assert (job.status, job.failures, job.crashes) == ("pending", 1, 0)
    assert "disk of the worker is full" in job.error_message
    assert list(folder.iterdir()) == []
    with services.store.engine.begin() as connection:
        connection.execute(sa.update(Job).values(run_after=0))
    assert run(Script(*map(Seen, ITEMS)))(job_id) is None
    assert (row(services, job_id).status, results(services, job_id)) == ("completed", ITEMS)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        ([], "Job completed. job_id={} attempt=1 seconds=[0-9.]+ damaged_frames=2"),
        (
            [InvalidVideoError("video_damaged", "Too few.")],
            r"Job failed. job_id={} attempt=1 seconds=[0-9.]+ damaged_frames=2 reason=Too few\.",
        ),
    ],
    ids=["completed", "failed"],
)
def test_damaged_frames_are_in_the_row_and_in_the_log(services, job_id, run, caplog, error, line) -> None:
    caplog.set_level(logging.INFO)
    run(Script(Seen(ITEMS[0]), Ended(VideoInfo(damaged_frames=2, codec="h264")), *error))(job_id)
    job = row(services, job_id)
    assert (job.damaged_frames, job.codec, job.width) == (2, "h264", None)
    assert re.fullmatch(line.format(job_id), caplog.messages[-1])


@pytest.mark.parametrize(("worked", "status"), [(0.0, "completed"), (100.0, "failed")])
def test_a_job_fails_when_all_its_attempts_together_took_too_long(
    services, job_id, run, worked, status
) -> None:
    object.__setattr__(services.settings, "job_timeout_seconds", 100.0)
    with services.store.engine.begin() as connection:
        connection.execute(sa.update(Job).values(worked=worked * 1e6))
    assert run(Script(Seen(ITEMS[0]), lambda: None))(job_id) is None
    job = row(services, job_id)
    assert job.status == status
    expected = "100 seconds of work, the most that a job may take (VIDEOQUEUE_JOB_TIMEOUT_SECONDS)"
    assert (expected in (job.error_message or "")) == (status == "failed")


def test_many_bytes_of_results_are_committed_before_the_next_frame(services, job_id, run) -> None:
    seen: list[int] = []
    look = lambda: seen.append(len(results(services, job_id)))  # noqa: E731
    run(Script(Seen(ITEMS[0], 1 << 20), look, Seen(ITEMS[1], 3 << 20), look, Seen(ITEMS[2], 1), look))(job_id)
    assert seen == [0, 2, 2]


def test_a_bug_is_counted_and_hidden_from_the_user(services, job_id, run) -> None:
    assert run(Script(RuntimeError("secret path /x")))(job_id) == 5.0
    job = row(services, job_id)
    assert (job.status, job.failures) == ("pending", 1)
    assert "secret" not in job.error_message


def test_a_shutdown_keeps_what_is_done_and_counts_as_nothing(services, job_id, run) -> None:
    stopping = threading.Event()
    assert run(Script(Seen(ITEMS[0]), Seen(ITEMS[1]), stopping.set), stopping)(job_id) == 0.0
    job = row(services, job_id)
    assert (job.status, job.failures, job.crashes) == ("pending", 0, 0)
    assert results(services, job_id) == ITEMS[:2]


def test_the_next_attempt_goes_on_behind_the_last_chunk(services, job_id, run) -> None:
    stopping = threading.Event()
    run(Script(Seen(ITEMS[0]), Seen(ITEMS[1]), stopping.set), stopping)(job_id)
    script = Script(*map(Seen, ITEMS[2:]))
    run(script)(job_id)
    assert script.tasks[0].start_after == 1
    assert row(services, job_id).status == "completed"
    assert results(services, job_id) == ITEMS


def test_while_shutting_down_no_job_is_started(services, job_id, run) -> None:
    stopping = threading.Event()
    stopping.set()
    assert run(Script(), stopping)(job_id) == 0.0
    assert row(services, job_id).status == "pending"


def test_a_worker_that_lost_the_job_changes_nothing_more(services, job_id, run) -> None:
    def steal() -> None:
        with services.store.engine.begin() as connection:
            connection.execute(sa.update(Job).values(attempt=7))

    assert run(Script(Seen(ITEMS[0]), steal))(job_id) is None
    job = row(services, job_id)
    assert (job.status, job.attempt) == ("running", 7)
    assert results(services, job_id) == []


def test_a_job_is_given_back_uncounted_when_the_database_was_away(services, job_id, run, monkeypatch) -> None:
    object.__setattr__(services.settings, "renew_seconds", 0.01)
    release = services.store.release
    tries = []

    def away(*_: object) -> None:
        raise DatabaseUnavailableError("The database does not answer.")

    def away_at_first(*arguments: object) -> bool:
        tries.append(arguments)
        return away() if len(tries) < 3 else release(*arguments)

    monkeypatch.setattr(services.store, "complete", away)
    monkeypatch.setattr(services.store, "release", away_at_first)
    assert run(Script(*map(Seen, ITEMS)))(job_id) == 0.0
    assert len(tries) == 3
    job = row(services, job_id)
    assert (job.status, job.crashes, job.failures, job.error_message) == ("pending", 0, 0, None)
    assert results(services, job_id) == ITEMS


def test_a_shutdown_does_not_wait_for_a_database_that_is_away(services, job_id, run, monkeypatch) -> None:
    stopping = threading.Event()

    def away(*_: object) -> None:
        stopping.set()
        raise DatabaseUnavailableError("The database does not answer.")

    monkeypatch.setattr(services.store, "complete", away)
    monkeypatch.setattr(services.store, "release", away)
    assert run(Script(*map(Seen, ITEMS)), stopping)(job_id) is None
    assert row(services, job_id).status == "running"


def test_a_message_for_a_job_that_is_not_to_be_had_is_a_no_op(services, job_id, run) -> None:
    run(Script(*map(Seen, ITEMS)))(job_id)
    before = row(services, job_id)
    script = Script()
    assert run(script)(job_id) is None
    assert run(script)(uuid.uuid4()) is None
    assert script.tasks == []
    assert row(services, job_id) == before


def test_progress_is_committed_while_the_job_runs(services, job_id, run, monkeypatch) -> None:
    object.__setattr__(services.settings, "checkpoint_seconds", 1e-9)
    seen: list[float] = []
    look = lambda: seen.append(row(services, job_id).progress)  # noqa: E731
    run(Script(Alive(0.57), Seen(ITEMS[0]), look, Alive(0.81), Seen(ITEMS[1]), look))(job_id)
    assert seen == pytest.approx([0.5, 0.8])
