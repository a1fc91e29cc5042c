"""Everything that /metrics shows, read from the database at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from videoqueue.jobs.counters import Labels, read_counters
from videoqueue.jobs.database import microseconds, now, reading
from videoqueue.jobs.tables import HEARTBEAT, JOB
from videoqueue.jobs.types import STATUSES, Status
from videoqueue.jobs.webhooks import count_events


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What there is now, and what was counted since the counters exist."""

    #: The number of jobs in each state.
    jobs: Mapping[Status, int]
    #: The age of the oldest pending job; 0 when no job is pending.
    oldest_pending_seconds: float
    #: The sizes of all stored videos together. A video that a retry shares counts once.
    stored_video_bytes: int
    #: Live worker processes, and the number of jobs that they can run at once.
    workers: int
    worker_threads: int
    #: Webhook events that wait for a try, and those that were given up.
    webhooks_waiting: int
    webhooks_given_up: int
    #: As `read_counters` returns them.
    counters: Mapping[str, Mapping[Labels, int]]


def snapshot(engine: Engine, alive_seconds: float) -> Snapshot:
    """Reads the metrics. All values are of the same moment, so that they add up.

    Args:
        engine: the database.
        alive_seconds: the maximum age of a live worker's last heartbeat.

    Returns:
        The metrics.

    Raises:
        DatabaseUnavailableError: the database cannot be used.
    """
    with reading(engine) as connection:
        if connection.dialect.name != "sqlite":  # where a transaction always reads one state
            connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        time = now(connection)
        waiting, given_up = count_events(connection)
        workers, threads = _alive(connection, time - microseconds(alive_seconds))
        oldest = connection.execute(
            sa.select(sa.func.min(JOB.c.created_at)).where(_is("pending"))
        ).scalar_one()
        return Snapshot(
            jobs=_jobs(connection),
            oldest_pending_seconds=0.0 if oldest is None else max(0, time - oldest) / 1_000_000,
            stored_video_bytes=_stored(connection),
            workers=workers,
            worker_threads=threads,
            webhooks_waiting=waiting,
            webhooks_given_up=given_up,
            counters=read_counters(connection),
        )


def _is(status: Status) -> sa.ColumnElement[bool]:
    return JOB.c.status == status


def _jobs(connection: Connection) -> dict[Status, int]:
    query = sa.select(JOB.c.status, sa.func.count()).group_by(JOB.c.status)
    counts = {status: count for status, count in connection.execute(query)}
    return {status: counts.get(status, 0) for status in STATUSES}


def _alive(connection: Connection, since: int) -> tuple[int, int]:
    threads = sa.func.coalesce(sa.func.sum(HEARTBEAT.c.threads), 0)
    query = sa.select(sa.func.count(), threads).where(HEARTBEAT.c.seen_at >= since)
    workers, total = connection.execute(query).one()
    return workers, int(total)


def _stored(connection: Connection) -> int:
    """Returns the size of all stored videos, from indexes: rows are read only of jobs that share a video."""
    of_jobs = sa.select(sa.func.coalesce(sa.func.sum(JOB.c.input_bytes), 0))
    key, count = JOB.c.input_key, sa.func.count()
    shared = sa.select(key, (count - 1).label("more")).group_by(key).having(count > 1).subquery()
    one = JOB.alias()
    size = sa.select(sa.func.max(one.c.input_bytes)).where(one.c.input_key == shared.c.input_key)
    twice = sa.select(sa.func.coalesce(sa.func.sum(shared.c.more * size.scalar_subquery()), 0))
    return int(connection.execute(of_jobs).scalar_one()) - int(connection.execute(twice).scalar_one())
