"""How `run_job` decides, with the pipeline's child process played by a script; store and storage are real."""

import errno
import logging
import os
import re
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.log_lines import LogLines
from tests.support.records import new_job
from tests.support.scripted_runs import (
    ITEMS,
    KEY,
    VIDEO,
    Run,
    Script,
    folder,
    job_id,
    results,
    row,
    run,
    store_video,
)
from videoqueue.broker import queued
from videoqueue.errors import (
    InvalidVideoError,
    SandboxCrashedError,
    StorageUnavailableError,
)
from videoqueue.jobs.owners import OwnerStore
from videoqueue.jobs.tables import JobRow
from videoqueue.pipeline.decode.video_info import VideoInfo
from videoqueue.sandbox.protocol import Alive, Ended, Seen
from videoqueue.services import Services
from videoqueue.worker.run_job import JobRunner

__all__ = ["folder", "job_id", "run"]


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
    store_video(services, VIDEO)
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
