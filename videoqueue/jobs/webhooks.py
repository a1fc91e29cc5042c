"""Takes webhook events in order to send them, and stores the outcome.

Whoever takes an event holds it for a time. If the process is killed, or the connection is lost before the
outcome is stored, the event is due again after that time: events are sent at least once.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from videoqueue.failpoints import failpoint
from videoqueue.jobs.changes import select_job
from videoqueue.jobs.counters import raise_counters
from videoqueue.jobs.database import microseconds, now, reading, writing
from videoqueue.jobs.measures import DeliveryOutcome, delivery
from videoqueue.jobs.tables import JOB, WEBHOOK_EVENT
from videoqueue.jobs.types import TERMINAL, Job
from videoqueue.jobs.webhook_table import MAX_ERROR, drop_event


@dataclass(frozen=True)
class Taken:
    """An event that the caller sends."""

    job: Job
    #: Which try this is; the first is 1.
    tries: int
    #: Until when the event is held; it also tells this holder from every other.
    held_until: int


@dataclass(frozen=True)
class Waiting:
    """An event that its receiver has not accepted. Times are microseconds since 1970."""

    job_id: uuid.UUID
    created_at: int
    tries: int
    #: None when it is given up.
    next_at: int | None
    error: str | None


@dataclass(frozen=True)
class Summary:
    """How many events are stored."""

    #: Events that wait for a try.
    waiting: int
    #: Those of them whose last try failed.
    failed: int
    given_up: int
    #: Why one of the tries failed.
    error: str | None


class WebhookEvents:
    """The stored events. Each method is one short transaction.

    All methods raise DatabaseUnavailableError when the database cannot be used.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def seconds_until_due(self) -> float | None:
        """Returns the seconds until the next event is due, at least 0; None if none waits."""
        with reading(self._engine) as connection:
            first = connection.execute(sa.select(sa.func.min(WEBHOOK_EVENT.c.next_at))).scalar_one()
            return None if first is None else max(0, first - now(connection)) / 1_000_000

    def take(self, hold_seconds: float) -> Taken | None:
        """Takes the event that is due for the longest time. No one else takes it for `hold_seconds`.

        Returns:
            The event, or None if none is due.
        """
        while (taken := self._take(hold_seconds)) is not None:
            if isinstance(taken, Taken):
                failpoint("webhook.taken")
                return taken
        return None

    def _take(self, hold_seconds: float) -> Taken | uuid.UUID | None:
        """Returns an event; only its id if its job is gone, after which the event is gone, too."""
        with writing(self._engine) as connection:
            time = now(connection)
            query = sa.select(WEBHOOK_EVENT.c.job_id, WEBHOOK_EVENT.c.tries)
            query = query.where(WEBHOOK_EVENT.c.next_at <= time).order_by(WEBHOOK_EVENT.c.next_at).limit(1)
            row = connection.execute(query.with_for_update(skip_locked=True)).one_or_none()
            if row is None:
                return None
            job = select_job(connection, JOB.c.job_id == row.job_id)
            if job is None:  # a release without webhooks deleted it
                drop_event(connection, row.job_id)
                gone: uuid.UUID = row.job_id
                return gone
            until = time + microseconds(hold_seconds)
            held = {"tries": row.tries + 1, "next_at": until}
            connection.execute(
                sa.update(WEBHOOK_EVENT).where(WEBHOOK_EVENT.c.job_id == row.job_id).values(held)
            )
            return Taken(job, row.tries + 1, until)

    def accepted(self, event: Taken) -> None:
        """Removes an event that its receiver has accepted."""
        self._store(event, sa.delete(WEBHOOK_EVENT).where(_held(event)), "delivered")

    def failed(self, event: Taken, error: str, delay: float | None) -> None:
        """Stores that a try failed.

        Args:
            event: the event.
            error: why, for operators.
            delay: seconds until the next try; None to give up.
        """
        with reading(self._engine) as connection:
            time = now(connection)
        values = {
            "error": error[:MAX_ERROR],
            "next_at": None if delay is None else time + microseconds(delay),
        }
        statement = sa.update(WEBHOOK_EVENT).where(_held(event)).values(values)
        self._store(event, statement, "given_up" if delay is None else "failed")

    def _store(self, event: Taken, statement: sa.Update | sa.Delete, outcome: DeliveryOutcome) -> None:
        with writing(self._engine) as connection:
            # Nothing is stored if the job was deleted, or the event was taken again, in the meantime.
            if connection.execute(statement).rowcount == 1:
                raise_counters(connection, event.job.job_id, delivery(outcome))

    def waiting(self, limit: int) -> Sequence[Waiting]:
        """Returns at most `limit` events that were not accepted, the oldest first."""
        columns = [WEBHOOK_EVENT.c[name] for name in Waiting.__annotations__]
        query = sa.select(*columns).order_by(WEBHOOK_EVENT.c.created_at, WEBHOOK_EVENT.c.job_id).limit(limit)
        with reading(self._engine) as connection:
            return [Waiting(*row) for row in connection.execute(query)]

    def summary(self) -> Summary:
        """Returns how many events are stored, and why one of them was not accepted."""
        has_failed = WEBHOOK_EVENT.c.next_at.is_not(None) & WEBHOOK_EVENT.c.error.is_not(None)
        columns = (sa.func.count().filter(has_failed), sa.func.max(WEBHOOK_EVENT.c.error))
        with reading(self._engine) as connection:
            waiting, given_up = count_events(connection)
            failed, error = connection.execute(sa.select(*columns).select_from(WEBHOOK_EVENT)).one()
        return Summary(waiting, failed, given_up, error)

    def retry_waiting(self) -> int:
        """Makes all events due that were not accepted, also those that were given up.

        Returns:
            The number of events.
        """
        return self._make_due(sa.true(), {"tries": 0})

    def receiver_is_back(self) -> None:
        """Makes the events due whose last try had no response."""
        waits = WEBHOOK_EVENT.c.next_at.is_not(None)
        self._make_due(waits & WEBHOOK_EVENT.c.error.not_like("HTTP %"), {})

    def postpone(self, seconds: float) -> None:
        """Makes the events that are due now due after `seconds`, for all processes."""
        with writing(self._engine) as connection:
            time = now(connection)
            # A later time may be the limit of whoever holds the event, which must not change.
            self._update(
                connection, WEBHOOK_EVENT.c.next_at <= time, {"next_at": time + microseconds(seconds)}
            )

    def _make_due(self, which: sa.ColumnElement[bool], values: dict[str, int]) -> int:
        with writing(self._engine) as connection:
            return self._update(connection, which, values | {"next_at": now(connection)})

    def _update(
        self, connection: Connection, which: sa.ColumnElement[bool], values: Mapping[str, int]
    ) -> int:
        # Rows are locked in one order: two that do this at once would wait for each other otherwise.
        query = sa.select(WEBHOOK_EVENT.c.job_id).where(which).order_by(WEBHOOK_EVENT.c.job_id)
        connection.execute(query.with_for_update()).all()
        return connection.execute(sa.update(WEBHOOK_EVENT).where(which).values(values)).rowcount

    def retry(self, job_id: uuid.UUID) -> bool:
        """Makes the event of an ended job due, also if it was accepted before.

        Returns:
            False if there is no job with this id, or it has not ended.
        """
        with writing(self._engine) as connection:
            job = select_job(connection, JOB.c.job_id == job_id, lock=True)
            if job is None or job.status not in TERMINAL:
                return False
            time = now(connection)
            drop_event(connection, job_id)
            values = {"job_id": job_id, "created_at": job.finished_at or time, "tries": 0, "next_at": time}
            connection.execute(sa.insert(WEBHOOK_EVENT).values(values))
            return True


def _held(event: Taken) -> sa.ColumnElement[bool]:
    """Returns the condition that nobody has taken the event since."""
    return (WEBHOOK_EVENT.c.job_id == event.job.job_id) & (WEBHOOK_EVENT.c.next_at == event.held_until)


def remove_orphans(engine: Engine, limit: int) -> int:
    """Removes at most `limit` events of jobs that a release without webhooks has deleted.

    Returns:
        The number of events.

    Raises:
        DatabaseUnavailableError: the database cannot be used.
    """
    is_gone = ~sa.exists().where(JOB.c.job_id == WEBHOOK_EVENT.c.job_id)
    with writing(engine) as connection:
        found = connection.scalars(sa.select(WEBHOOK_EVENT.c.job_id).where(is_gone).limit(limit)).all()
        connection.execute(sa.delete(WEBHOOK_EVENT).where(WEBHOOK_EVENT.c.job_id.in_(found)))
    return len(found)


def count_events(connection: Connection) -> tuple[int, int]:
    """Returns the numbers of events that wait for a try, and of those that were given up."""
    given_up = sa.func.count().filter(WEBHOOK_EVENT.c.next_at.is_(None))
    waiting, lost = connection.execute(sa.select(sa.func.count(WEBHOOK_EVENT.c.next_at), given_up)).one()
    return waiting, lost
