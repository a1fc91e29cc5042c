"""How `run_job` decides, with the pipeline's child process played by a script; store and storage are real."""

import base64
import errno
import hashlib
import json
import logging
import os
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, Protocol

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from tests.support.full_disk import files_of_at_most, without_links
from tests.support.log_lines import LogLines
from tests.support.records import new_job, stored
from tests.support.stack import eventually
from videoqueue.broker import queued
from videoqueue.errors import (
    DatabaseUnavailableError,
    InvalidVideoError,
    SandboxCrashedError,
    StorageUnavailableError,
    TransientError,
)
from videoqueue.jobs.owners import OwnerStore
from videoqueue.jobs.results import ResultReader, encode
from videoqueue.jobs.segments import JobSegments
from videoqueue.jobs.tables import CHUNK, JobRow
from videoqueue.jobs.types import ALL_OWNERS, Job
from videoqueue.pipeline.decode.video_info import VideoInfo
from videoqueue.pipeline.results import FrameItem
from videoqueue.sandbox.protocol import Alive, Begun, Ended, Report, Seen, Task
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
    _store(services, VIDEO)
    return services.store.create(new_job(VIDEO, input_key=KEY))[0]


def _store(services: Services, video: bytes) -> None:
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


def test_a_job_is_downloaded_processed_and_completed(
    services: Services, folder: Path, job_id: uuid.UUID, run: Run
) -> None:
    script = Script(*map(Seen, ITEMS))
    assert run(script)(job_id) is None
    job = row(services, job_id)
    assert (job.status, job.progress, job.attempt) == ("completed", 1.0, 1)
    assert results(services, job_id) == ITEMS
    assert script.video == VIDEO
    assert script.tasks[0].start_after is None
    assert list(folder.iterdir()) == []


def test_a_bad_video_fails_at_once_with_its_reason(
    services: Services, folder: Path, job_id: uuid.UUID, run: Run
) -> None:
    assert run(Script(InvalidVideoError("truncated_mp4", "It ends early.")))(job_id) is None
    job = row(services, job_id)
    assert (job.status, job.error_message, job.failures) == ("failed", "It ends early.", 0)
    assert list(folder.iterdir()) == []


def test_a_crash_is_counted_and_tried_again(services: Services, job_id: uuid.UUID, run: Run) -> None:
    delay = run(Script(Seen(ITEMS[0]), SandboxCrashedError("The process was killed by SIGSEGV.")))(job_id)
    job = row(services, job_id)
    assert delay == services.settings.crash_retry_seconds
    assert (job.status, job.crashes, job.failures) == ("pending", 1, 0)
    assert "SIGSEGV" in (job.error_message or "")


def test_storage_that_is_away_is_counted_as_a_failure_and_backs_off(
    services: Services, job_id: uuid.UUID, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(key: str, path: Path, check: object) -> None:
        raise StorageUnavailableError("Storage is away.")

    monkeypatch.setattr(services.storage, "download", away)
    delays = []
    for _ in range(3):
        delays.append(run(Script())(job_id))
        with services.store.engine.begin() as connection:
            connection.execute(sa.update(JobRow).values(run_after=0))
    assert delays == [5.0, 10.0, 20.0]
    assert (row(services, job_id).failures, row(services, job_id).crashes) == (3, 0)


def test_a_video_that_is_gone_from_storage_fails(services: Services, job_id: uuid.UUID, run: Run) -> None:
    services.storage.delete("inputs/" + "a" * 32 + ".mp4")
    assert run(Script())(job_id) is None
    assert row(services, job_id).status == "failed"


def test_a_full_disk_is_told_tried_again_and_leaves_nothing(
    services: Services, folder: Path, job_id: uuid.UUID, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    download = services.storage.download

    def full(*arguments: Any) -> str:
        with files_of_at_most(len(VIDEO) - 1):
            return download(*arguments)

    without_links(monkeypatch)
    monkeypatch.setattr(services.storage, "download", full)
    assert run(Script())(job_id) == 5.0
    monkeypatch.undo()
    job = row(services, job_id)
    assert (job.status, job.failures, job.crashes) == ("pending", 1, 0)
    assert "disk of the worker is full" in (job.error_message or "")
    assert list(folder.iterdir()) == []
    with services.store.engine.begin() as connection:
        connection.execute(sa.update(JobRow).values(run_after=0))
    assert run(Script(*map(Seen, ITEMS)))(job_id) is None
    assert (row(services, job_id).status, results(services, job_id)) == ("completed", ITEMS)


@pytest.mark.parametrize("stored", [VIDEO[:-1], VIDEO + b"!", b"X" + VIDEO[1:], b""])
def test_a_video_that_is_not_the_submitted_one_is_no_result_but_tried_again(
    services: Services, folder: Path, job_id: uuid.UUID, run: Run, log_lines: LogLines, stored: bytes
) -> None:
    _store(services, stored)
    script = Script(*map(Seen, ITEMS))
    assert run(script)(job_id) == 5.0
    job = row(services, job_id)
    assert (job.status, job.failures, job.crashes) == ("pending", 1, 0)
    assert "checksum differs" in (job.error_message or "")
    assert script.tasks == []
    assert list(folder.iterdir()) == []
    (line,) = log_lines.having("The stored video is not the one that was submitted.")
    assert f"bytes={len(stored)} of={len(VIDEO)}" in line
    assert f"expected={hashlib.sha256(VIDEO).hexdigest()}" in line


def test_a_video_that_is_right_again_is_processed(services: Services, job_id: uuid.UUID, run: Run) -> None:
    _store(services, b"another")
    assert run(Script())(job_id) == 5.0
    _store(services, VIDEO)
    with services.store.engine.begin() as connection:
        connection.execute(sa.update(JobRow).values(run_after=0))
    assert run(Script(*map(Seen, ITEMS)))(job_id) is None
    assert (row(services, job_id).status, results(services, job_id)) == ("completed", ITEMS)


def test_a_worker_that_stops_during_a_download_returns_its_job(
    services: Services, folder: Path, job_id: uuid.UUID, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping = threading.Event()
    download = services.storage.download

    def stop(key: str, path: Path, check: Callable[[], None]) -> str:
        stopping.set()
        return download(key, path, check)

    monkeypatch.setattr(services.storage, "download", stop)
    script = Script(*map(Seen, ITEMS))
    assert run(script, stopping)(job_id) is not None
    job = row(services, job_id)
    assert (job.status, job.failures, job.crashes, script.tasks) == ("pending", 0, 0, [])
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "line"),
    [
        ([], r"\[job_id={} attempt=1\] Job completed\. seconds=[0-9.]+ damaged_frames=2"),
        (
            [InvalidVideoError("video_damaged", "Too few.")],
            r"\[job_id={} attempt=1\] Job failed\. seconds=[0-9.]+ damaged_frames=2 reason=Too few\.",
        ),
    ],
    ids=["completed", "failed"],
)
def test_damaged_frames_are_in_the_row_and_in_the_log(
    services: Services, job_id: uuid.UUID, run: Run, log_lines: LogLines, error: list[Exception], line: str
) -> None:
    run(Script(Seen(ITEMS[0]), Ended(VideoInfo(damaged_frames=2, codec="h264")), *error))(job_id)
    job = row(services, job_id)
    assert (job.damaged_frames, job.codec, job.width) == (2, "h264", None)
    assert re.fullmatch(line.format(job_id), log_lines.written[-1])


@pytest.mark.parametrize(("worked", "status"), [(0.0, "completed"), (100.0, "failed")])
def test_a_job_fails_when_all_its_attempts_together_took_too_long(
    services: Services, job_id: uuid.UUID, run: Run, worked: float, status: str
) -> None:
    object.__setattr__(services.settings, "job_timeout_seconds", 100.0)
    with services.store.engine.begin() as connection:
        connection.execute(sa.update(JobRow).values(worked=worked * 1e6))
    assert run(Script(Seen(ITEMS[0]), lambda: None))(job_id) is None
    job = row(services, job_id)
    assert job.status == status
    expected = "time limit of 100 seconds (VIDEOQUEUE_JOB_TIMEOUT_SECONDS)"
    assert (expected in (job.error_message or "")) == (status == "failed")


def noise(size: int) -> str:
    """Letters that compression makes at most a quarter smaller."""
    return base64.b64encode(os.urandom(size)).decode()


@pytest.mark.parametrize(
    ("text", "count"),
    [(lambda: noise(2 * 1024**2), 2), (lambda: "x" * 3 * 1024**2, 6)],
    ids=["as stored", "as served"],
)
def test_many_bytes_of_results_are_committed_before_the_next_frame(
    services: Services, job_id: uuid.UUID, run: Run, text: Callable[[], str], count: int
) -> None:
    object.__setattr__(services.settings, "checkpoint_seconds", 1000.0)
    seen: list[int] = []
    steps: list[Any] = []
    for index in range(count + 1):
        item: Any = {"frame_index": index, "result": {"text": f"{index}{text()}", "timestamp": 0.5}}
        steps += [Seen(item), lambda: seen.append(len(results(services, job_id)))]
    run(Script(*steps))(job_id)
    assert seen == [0] * (count - 1) + [count, count]


def test_equal_results_are_stored_once_and_served_for_each_frame(
    services: Services, job_id: uuid.UUID, run: Run
) -> None:
    text = noise(30_000)
    items: list[Any] = [
        {"frame_index": index, "result": {"timestamp": index / 25, "text": text}} for index in range(300)
    ]
    run(Script(*map(Seen, items)))(job_id)
    job = row(services, job_id)
    served = b"[" + encode(items) + b"]"
    assert (job.results_etag, job.result_bytes) == (hashlib.sha256(served).hexdigest(), len(served))
    assert results(services, job_id) == items
    with services.store.engine.connect() as connection:
        (chunk,) = connection.execute(sa.select(CHUNK))
    assert len(chunk.payload) < 40_000
    assert (chunk.first_frame, chunk.last_index, chunk.frame_count) == (0, 299, 300)
    assert (chunk.first_time, chunk.served_bytes) == (0.0, len(served) - 2)


def _large(count: int) -> list[Any]:
    """Items that have a megabyte together for each ten."""
    block = {"text": "x" * 100_000, "confidence": 0.9, "box": [1, 2, 3, 4]}
    return [
        {"frame_index": index, "result": {"text_blocks": [block], "timestamp": index / 10}}
        for index in range(count)
    ]


@pytest.mark.parametrize(("count", "ranges"), [(9, None), (10, 1)])
def test_segments_of_large_results_are_made_after_the_job_is_completed(
    services: Services, job_id: uuid.UUID, run: Run, count: int, ranges: int | None
) -> None:
    assert run(Script(*map(Seen, _large(count))))(job_id) is None
    assert row(services, job_id).status == "completed"
    kept = services.segments.kept(job_id, ALL_OWNERS)
    assert (None if kept is None else len(kept["texts"])) == ranges


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("a bug"), "Making segments met a bug."),
        (DatabaseUnavailableError("away"), "Segments not made."),
        (MemoryError(), "Making segments met a bug."),
    ],
)
def test_segments_that_cannot_be_made_do_not_change_the_outcome_of_the_job(
    services: Services,
    job_id: uuid.UUID,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    said: str,
) -> None:
    def fail(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(JobSegments, "keep", fail)
    monkeypatch.setattr(JobSegments, "kept", fail)
    assert run(Script(*map(Seen, _large(10))))(job_id) is None
    assert row(services, job_id).status == "completed"
    assert [line.message for line in caplog.records if line.levelno >= logging.WARNING] == [said]


def test_a_worker_that_stops_gives_up_the_segments(
    services: Services,
    job_id: uuid.UUID,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stopping = threading.Event()
    read = ResultReader.items

    def stop_and_read(*arguments: Any) -> Iterator[FrameItem]:
        stopping.set()
        return read(*arguments)

    monkeypatch.setattr(ResultReader, "items", stop_and_read)
    caplog.set_level(logging.INFO)
    assert run(Script(*map(Seen, _large(10))), stopping)(job_id) is None
    assert row(services, job_id).status == "completed"
    assert "Segments not made: the worker stops." in caplog.messages
    assert services.segments.kept(job_id, ALL_OWNERS) is None


def test_a_small_chunk_grows_with_each_commit_and_a_large_one_ends(
    services: Services, job_id: uuid.UUID, run: Run
) -> None:
    object.__setattr__(services.settings, "checkpoint_seconds", 1e-9)
    texts = ["still"] * 100 + [noise(100_000), noise(100_000), noise(200_000), "x", "y"]
    items: list[Any] = [
        {"frame_index": 2 * index, "result": {"text": text, "timestamp": index / 25}}
        for index, text in enumerate(texts)
    ]
    seen: list[int] = []
    steps: list[Any] = []
    for item in items:
        steps += [Seen(item), lambda: seen.append(len(results(services, job_id)))]
    run(Script(*steps))(job_id)
    assert seen == list(range(1, len(items) + 1))
    assert results(services, job_id) == items
    with services.store.engine.connect() as connection:
        chunks = connection.execute(sa.select(CHUNK).order_by(CHUNK.c.seq)).all()
    assert [(chunk.seq, chunk.first_frame, chunk.last_index, chunk.frame_count) for chunk in chunks] == [
        (0, 0, 202, 102),
        (1, 204, 204, 1),
        (2, 206, 208, 2),
    ]


def test_an_attempt_adds_to_its_own_chunks_only(services: Services, job_id: uuid.UUID, run: Run) -> None:
    object.__setattr__(services.settings, "checkpoint_seconds", 1e-9)
    stopping = threading.Event()
    run(Script(Seen(ITEMS[0]), Seen(ITEMS[1]), stopping.set), stopping)(job_id)
    run(Script(Seen(ITEMS[2]), Seen(ITEMS[3])))(job_id)
    with services.store.engine.connect() as connection:
        chunks = connection.execute(sa.select(CHUNK.c.seq, CHUNK.c.frame_count).order_by(CHUNK.c.seq)).all()
    assert [tuple(chunk) for chunk in chunks] == [(0, 2), (1, 2)]
    assert results(services, job_id) == ITEMS


LIMIT = len(b"[" + encode(ITEMS) + b"]")


@pytest.mark.parametrize(
    ("limit", "status"), [(LIMIT, "completed"), (LIMIT - 1, "failed"), (1, "failed"), (0, "completed")]
)
@pytest.mark.parametrize("first", [0, 1, 3], ids=["at once", "resumed", "resumed at the end"])
def test_results_beyond_the_limit_fail_the_job_however_its_attempts_were_split(
    services: Services, job_id: uuid.UUID, run: Run, limit: int, status: str, first: int
) -> None:
    if first:
        object.__setattr__(services.settings, "checkpoint_seconds", 1e-9)  # each result is a chunk
        stopping = threading.Event()
        run(Script(*map(Seen, ITEMS[:first]), stopping.set), stopping)(job_id)
        assert row(services, job_id).status == "pending"
    object.__setattr__(services.settings, "max_result_bytes", limit)
    assert run(Script(*map(Seen, ITEMS[first:])))(job_id) is None
    job = row(services, job_id)
    assert job.status == status
    if status == "failed":
        assert job.error_code == "results_too_large"
        assert job.error_message == (
            f"The results are larger than {limit} bytes (VIDEOQUEUE_MAX_RESULT_BYTES). Submit the video with "
            "a larger frame_stride or a lower max_frames, or ask for a higher limit."
        )


def test_a_bug_is_counted_and_hidden_from_the_user(services: Services, job_id: uuid.UUID, run: Run) -> None:
    assert run(Script(RuntimeError("secret path /x")))(job_id) == 5.0
    job = row(services, job_id)
    assert (job.status, job.failures) == ("pending", 1)
    assert "secret" not in (job.error_message or "")


def test_a_shutdown_keeps_what_is_done_and_counts_as_nothing(
    services: Services, job_id: uuid.UUID, run: Run
) -> None:
    stopping = threading.Event()
    assert run(Script(Seen(ITEMS[0]), Seen(ITEMS[1]), stopping.set), stopping)(job_id) == 0.0
    job = row(services, job_id)
    assert (job.status, job.failures, job.crashes) == ("pending", 0, 0)
    assert results(services, job_id) == ITEMS[:2]


def test_the_next_attempt_goes_on_behind_the_last_chunk(
    services: Services, job_id: uuid.UUID, run: Run
) -> None:
    stopping = threading.Event()
    run(Script(Seen(ITEMS[0]), Seen(ITEMS[1]), stopping.set), stopping)(job_id)
    script = Script(*map(Seen, ITEMS[2:]))
    run(script)(job_id)
    assert script.tasks[0].start_after == 1
    assert row(services, job_id).status == "completed"
    assert results(services, job_id) == ITEMS


def test_an_attempt_under_another_version_begins_anew(
    services: Services, job_id: uuid.UUID, run: Run
) -> None:
    stopping = threading.Event()
    run(Script(Alive(0.9), Seen(ITEMS[0]), Seen(ITEMS[1]), stopping.set), stopping)(job_id)
    before = row(services, job_id)
    others: list[Any] = [{"frame_index": index, "result": {"text": "other"}} for index in range(4)]
    seen: list[Job] = []
    script = Script(lambda: seen.append(row(services, job_id)), *map(Seen, others), version="b" * 64)
    run(script)(job_id)
    assert (script.tasks[0].start_after, script.tasks[0].version) == (1, "a" * 64)
    assert (before.pipeline_version, before.progress) == ("a" * 64, 0.9)
    assert (seen[0].pipeline_version, seen[0].progress) == ("b" * 64, 0.0)
    assert row(services, job_id).status == "completed"
    assert results(services, job_id) == others


def test_a_version_that_changes_within_an_attempt_begins_anew(
    services: Services, job_id: uuid.UUID, run: Run
) -> None:
    """As when a task is tried once more in a fresh process, and a model was replaced meanwhile."""
    object.__setattr__(services.settings, "checkpoint_seconds", 1e-9)
    others: list[Any] = [{"frame_index": index, "result": {"text": "other"}} for index in range(2)]
    later = Begun("b" * 64)
    run(Script(Seen(ITEMS[0]), Seen(ITEMS[1]), later, *map(Seen, others)))(job_id)
    assert results(services, job_id) == others
    assert row(services, job_id).pipeline_version == "b" * 64


def test_what_is_not_yet_committed_goes_too_when_the_version_changes(
    services: Services, job_id: uuid.UUID, run: Run
) -> None:
    others: list[Any] = [{"frame_index": index, "result": {"text": "other"}} for index in range(2)]
    run(Script(Seen(ITEMS[0]), Seen(ITEMS[1]), Begun("b" * 64), *map(Seen, others)))(job_id)
    assert results(services, job_id) == others


def test_a_fresh_process_of_the_same_version_goes_on_in_the_middle(
    services: Services, job_id: uuid.UUID, run: Run
) -> None:
    run(Script(Seen(ITEMS[0]), Begun("a" * 64), Seen(ITEMS[1])))(job_id)
    assert results(services, job_id) == ITEMS[:2]


def test_while_shutting_down_no_job_is_started(services: Services, job_id: uuid.UUID, run: Run) -> None:
    stopping = threading.Event()
    stopping.set()
    assert run(Script(), stopping)(job_id) == 0.0
    assert row(services, job_id).status == "pending"


def test_a_worker_that_lost_the_job_changes_nothing_more(
    services: Services, job_id: uuid.UUID, run: Run
) -> None:
    def steal() -> None:
        with services.store.engine.begin() as connection:
            connection.execute(sa.update(JobRow).values(attempt=7))

    assert run(Script(Seen(ITEMS[0]), steal))(job_id) is None
    job = row(services, job_id)
    assert (job.status, job.attempt) == ("running", 7)
    assert results(services, job_id) == []


def test_a_job_is_given_back_uncounted_when_the_database_was_away(
    services: Services, job_id: uuid.UUID, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    object.__setattr__(services.settings, "renew_seconds", 0.01)
    release = services.store.release
    tries = []

    def away(*_: object) -> NoReturn:
        raise DatabaseUnavailableError("The database does not answer.")

    def away_at_first(*arguments: Any) -> bool:
        tries.append(arguments)
        return away() if len(tries) < 3 else release(*arguments)

    monkeypatch.setattr(services.store, "complete", away)
    monkeypatch.setattr(services.store, "release", away_at_first)
    assert run(Script(*map(Seen, ITEMS)))(job_id) == 0.0
    assert len(tries) == 3
    job = row(services, job_id)
    assert (job.status, job.crashes, job.failures, job.error_message) == ("pending", 0, 0, None)
    assert results(services, job_id) == ITEMS


def test_a_shutdown_does_not_wait_for_a_database_that_is_away(
    services: Services, job_id: uuid.UUID, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping = threading.Event()

    def away(*_: object) -> None:
        stopping.set()
        raise DatabaseUnavailableError("The database does not answer.")

    monkeypatch.setattr(services.store, "complete", away)
    monkeypatch.setattr(services.store, "release", away)
    assert run(Script(*map(Seen, ITEMS)), stopping)(job_id) is None
    assert row(services, job_id).status == "running"


def test_a_message_for_a_job_that_is_not_to_be_had_is_a_no_op(
    services: Services, job_id: uuid.UUID, run: Run
) -> None:
    run(Script(*map(Seen, ITEMS)))(job_id)
    before = row(services, job_id)
    script = Script()
    assert run(script)(job_id) is None
    assert run(script)(uuid.uuid4()) is None
    assert script.tasks == []
    assert row(services, job_id) == before


def test_progress_is_committed_while_the_job_runs(
    services: Services, job_id: uuid.UUID, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    object.__setattr__(services.settings, "checkpoint_seconds", 1e-9)
    seen: list[float] = []
    look = lambda: seen.append(row(services, job_id).progress)  # noqa: E731
    run(Script(Alive(0.57), Seen(ITEMS[0]), look, Alive(0.81), Seen(ITEMS[1]), look))(job_id)
    assert seen == pytest.approx([0.5, 0.8])


def refuse(services: Services, what: str) -> None:
    """Has the database refuse a change, for a reason that nothing here knows."""
    with services.store.engine.begin() as connection:
        connection.execute(
            sa.text(f"CREATE TRIGGER refused BEFORE {what} BEGIN SELECT RAISE(ABORT, 'no'); END")
        )


def allow(services: Services) -> None:
    with services.store.engine.begin() as connection:
        connection.execute(sa.text("DROP TRIGGER refused"))


@pytest.mark.parametrize(
    ("what", "steps"),
    [
        ("INSERT ON result_chunk", [Seen(ITEMS[0])]),
        ("UPDATE ON job WHEN NEW.status = 'completed'", [Seen(ITEMS[0])]),
        ("UPDATE ON job WHEN NEW.status = 'failed'", [InvalidVideoError("not_mp4", "It is no MP4.")]),
        ("UPDATE ON job WHEN NEW.error_message = 'Again.'", [TransientError("Again.")]),
        ("UPDATE ON job WHEN NEW.error_message = 'Dead.'", [SandboxCrashedError("Dead.")]),
    ],
    ids=["checkpoint", "complete", "fail", "release", "release-crash"],
)
def test_an_outcome_that_is_not_recorded_is_a_counted_setback(
    services: Services, job_id: uuid.UUID, run: Run, what: str, steps: Any
) -> None:
    refuse(services, what)
    assert run(Script(*steps))(job_id) == 5.0
    job = row(services, job_id)
    assert (job.status, job.failures, job.crashes) == ("pending", 1, 0)
    assert job.error_message


@pytest.mark.parametrize("error", [InvalidVideoError("not_mp4", "\ud800"), TransientError("\ud800")])
def test_a_reason_that_the_database_cannot_hold_is_a_counted_setback(
    services: Services, job_id: uuid.UUID, run: Run, error: Exception
) -> None:
    assert run(Script(error))(job_id) == 5.0
    job = row(services, job_id)
    assert (job.status, job.failures) == ("pending", 1)
    assert "could not be recorded" in (job.error_message or "")


def test_a_job_whose_outcome_is_never_recorded_fails_in_the_end(
    services: Services, job_id: uuid.UUID, run: Run
) -> None:
    for _ in range(services.settings.max_attempts):
        run(Script(InvalidVideoError("not_mp4", "\ud800")))(job_id)
        with services.store.engine.begin() as connection:
            connection.execute(sa.update(JobRow).values(run_after=0))
    job = row(services, job_id)
    assert job.status == "failed"
    assert (job.error_message or "").startswith("Gave up after 5 tries in a row (VIDEOQUEUE_MAX_ATTEMPTS): ")


def test_results_for_which_the_database_has_no_room_cost_no_try_and_the_job_waits(
    services: Services, job_id: uuid.UUID, run: Run, log_lines: LogLines
) -> None:
    """The interruption itself is recorded: without a pause the same work would be done again at once."""
    engine = services.store.engine
    engine.dispose()

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 8}").close()

    item: FrameItem = {"frame_index": 0, "result": {"text": noise(400_000), "timestamp": 0.0}}
    assert run(Script(Seen(item)))(job_id) == 5.0
    job = row(services, job_id)
    assert (job.status, job.failures, job.crashes) == ("pending", 0, 0)
    (line,) = log_lines.having("Job interrupted.")
    assert line.startswith(f"[job_id={job_id} attempt=1] ")
    assert "cause=SQLITE_FULL: database or disk is full" in line
    assert "bug" not in str(log_lines.written)


def test_a_database_that_refuses_every_write_costs_no_try(
    services: Services, job_id: uuid.UUID, run: Run, log_lines: LogLines
) -> None:
    """As after a failover to a server that only reads."""
    object.__setattr__(services.settings, "renew_seconds", 0.01)
    refused: list[str] = []

    # At the checkout: a connection that is read only refuses BEGIN IMMEDIATE, and so a switch behind it.
    @event.listens_for(services.store.engine, "checkout")
    def _checkout(connection: Any, _record: Any, _proxy: Any) -> None:
        switch = "ON" if read_only.is_set() else "OFF"
        connection.execute(f"PRAGMA query_only = {switch}").close()

    @event.listens_for(services.store.engine, "handle_error")
    def _error(context: Any) -> None:
        refused.append(str(context.original_exception))
        if len(refused) == 5:
            read_only.clear()

    read_only = threading.Event()
    assert run(Script(Seen(ITEMS[0]), read_only.set))(job_id) == 0.0
    assert len(refused) == 5
    job = row(services, job_id)
    assert (job.status, job.failures, job.crashes) == ("pending", 0, 0)
    assert "bug" not in str(log_lines.written)
    assert all(
        line.startswith(f"[job_id={job_id} attempt=1] ") and "cause=SQLITE_READONLY: attempt to write" in line
        for line in log_lines.having("Outcome not recorded yet.")
    )


def test_a_lease_is_renewed_again_after_an_error_that_nothing_knows(
    services: Services, job_id: uuid.UUID, run: Run, log_lines: LogLines
) -> None:
    object.__setattr__(services.settings, "renew_seconds", 0.01)

    def lease() -> int:
        until = row(services, job_id).lease_until
        assert until is not None
        return until

    def is_renewed_after_refusal() -> None:
        refuse(services, "UPDATE OF lease_until ON job WHEN NEW.lease_until > OLD.lease_until")
        eventually(lambda: "Renewing a lease met a bug." in str(log_lines.written), "a renewal is refused")
        before = lease()
        allow(services)
        eventually(lambda: lease() > before, "the lease is renewed")

    assert run(Script(is_renewed_after_refusal, Seen(ITEMS[0])))(job_id) is None
    assert row(services, job_id).status == "completed"
    (line, *_) = log_lines.having("Renewing a lease met a bug.")
    assert line.startswith(f"[job_id={job_id} attempt=1] Renewing a lease met a bug.\n    Traceback ")


def test_a_lease_that_cannot_be_renewed_ends_the_attempt_as_a_setback(
    services: Services, job_id: uuid.UUID, run: Run
) -> None:
    object.__setattr__(services.settings, "renew_seconds", 0.01)
    object.__setattr__(services.settings, "lease_seconds", 0.05)
    refuse(services, "UPDATE OF lease_until ON job WHEN NEW.lease_until > OLD.lease_until")
    assert run(Script(*[lambda: threading.Event().wait(0.01)] * 1000))(job_id) == 5.0
    job = row(services, job_id)
    assert (job.status, job.failures, job.crashes) == ("pending", 1, 0)
    assert "could not renew its lease" in (job.error_message or "")


def test_a_passing_error_is_logged_in_one_line_with_its_cause(
    services: Services, job_id: uuid.UUID, run: Run, monkeypatch: pytest.MonkeyPatch, log_lines: LogLines
) -> None:
    def full(key: str, path: Path, check: object) -> None:
        raise StorageUnavailableError("Storage is away.") from OSError(errno.EIO, os.strerror(errno.EIO), key)

    monkeypatch.setattr(services.storage, "download", full)
    run(Script())(job_id)
    (line,) = log_lines.having("Job waits for another try.")
    assert line.startswith(f"[job_id={job_id} attempt=1] Job waits for another try. seconds=")
    assert line.endswith(
        "reason=Storage is away. cause=EIO: Input/output error (inputs/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.mp4)"
    )
    assert row(services, job_id).error_message == "Storage is away."


def test_a_failed_job_is_logged_in_one_line_with_its_reason(
    services: Services, job_id: uuid.UUID, run: Run, caplog: pytest.LogCaptureFixture, log_lines: LogLines
) -> None:
    run(Script(InvalidVideoError("not_mp4", "It is\nno \x1b[31mMP4.")))(job_id)
    (record,) = [record for record in caplog.records if record.message.startswith("Job failed.")]
    assert record.levelno == logging.WARNING
    (line,) = log_lines.having("Job failed.")
    assert line.startswith(f"[job_id={job_id} attempt=1] Job failed. seconds=")
    assert line.endswith("reason=It is no [31mMP4.")


def test_a_worker_without_a_work_folder_leaves_the_job_alone(
    services: Services, job_id: uuid.UUID, log_lines: LogLines
) -> None:
    def full() -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    runner = JobRunner(services, Script(), full, "test", threading.Event())  # type: ignore[arg-type]
    assert runner.run(job_id) == services.settings.retry_seconds
    job = row(services, job_id)
    assert (job.status, job.attempt, job.failures) == ("pending", 0, 0)
    assert log_lines.written == [f"[job_id={job_id}] Job not claimed. reason=ENOSPC: No space left on device"]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
        (MemoryError(), "Out of memory"),
        (RuntimeError("can't start new thread"), "No more threads"),
    ],
)
def test_a_machine_short_of_something_is_a_passing_error(
    services: Services,
    job_id: uuid.UUID,
    run: Run,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    says: str,
) -> None:
    assert run(Script(error))(job_id) == 5.0
    job = row(services, job_id)
    assert (job.status, job.failures) == ("pending", 1)
    assert says in (job.error_message or "")
    assert "bug" not in caplog.text


def _limited(services: Services) -> tuple[uuid.UUID, uuid.UUID]:
    OwnerStore(services.engine).set_limits("anna", {"max_running": 1})
    _store(services, VIDEO)
    first, second = (services.store.create(new_job(VIDEO, owner="anna", input_key=KEY))[0] for _ in range(2))
    return first, second


@pytest.mark.parametrize(
    "outcome", [*ITEMS[:1], InvalidVideoError("not_mp4", "why"), SandboxCrashedError("x")]
)
def test_the_next_job_of_an_owner_at_the_limit_is_announced_when_one_ends(
    services: Services, run: Run, outcome: Any
) -> None:
    first, second = _limited(services)
    waiting = []

    def look() -> None:
        waiting.append((services.store.claim(second, "another"), queued(services.broker)))

    run(Script(look, outcome))(first)
    assert waiting == [(None, 0)]
    assert queued(services.broker) == 1
    claim = services.store.claim(first, "another")
    assert claim is not None
    assert claim.job_id == second


def test_a_message_runs_the_job_of_the_owner_whose_turn_it_is(
    services: Services, run: Run, log_lines: LogLines
) -> None:
    first, second = _limited(services)
    other = services.store.create(new_job(VIDEO, owner="bert", input_key=KEY))[0]
    services.store.claim(first, "another")
    script = Script()
    run(script)(second)
    assert script.owners == ["bert"], "the child learns whose job it gets"
    assert row(services, other).status != "pending"
    assert row(services, second).status == "pending"
