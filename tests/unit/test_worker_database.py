"""What `run_job` does when the database is away or refuses a write."""

import threading
import uuid
from typing import Any, NoReturn

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from tests.support.log_lines import LogLines
from tests.support.scripted_runs import ITEMS, Run, Script, folder, job_id, noise, results, row, run
from tests.support.stack import eventually
from videoqueue.errors import (
    DatabaseUnavailableError,
    InvalidVideoError,
    SandboxCrashedError,
    TransientError,
)
from videoqueue.jobs.tables import JobRow
from videoqueue.pipeline.results import FrameItem
from videoqueue.sandbox.protocol import Seen
from videoqueue.services import Services

__all__ = ["folder", "job_id", "run"]


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
