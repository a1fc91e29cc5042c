"""What the sweepers ask and note: dead leases, jobs to announce, which workers live."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from videoqueue.jobs.database import microseconds, now, reading, writing
from videoqueue.jobs.tables import HEARTBEAT, JOB


@dataclass(frozen=True, kw_only=True)
class Pauses:
    """Seconds from a sweeper's announcement of a job to its next: the first, doubling up to the longest."""

    first: float = 10.0
    longest: float = 600.0


@dataclass(frozen=True, kw_only=True)
class ExpiredLease:
    """A running job whose worker was not heard of in time, `seconds` ago."""

    job_id: uuid.UUID
    attempt: int
    worker: str
    seconds: float


class Upkeep:
    """Each method is a short transaction of its own; DatabaseUnavailableError when the database is away."""

    def __init__(self, engine: Engine, pauses: Pauses | None = None) -> None:
        self._engine = engine
        self._pauses = pauses or Pauses()

    def expired_leases(self, limit: int) -> list[ExpiredLease]:
        """Running jobs whose lease has ended, the longest dead first."""
        with reading(self._engine) as connection:
            time = now(connection)
            dead = sa.select(JOB).where(JOB.c.status == "running", JOB.c.lease_until < time)
            return [
                ExpiredLease(
                    job_id=row.job_id,
                    attempt=row.attempt,
                    worker=row.worker,
                    seconds=(time - row.lease_until) / 1_000_000,
                )
                for row in connection.execute(dead.order_by(JOB.c.lease_until).limit(limit))
            ]

    def claimable(self) -> int:
        """How many pending jobs a worker could claim now."""
        with reading(self._engine) as connection:
            ready = (JOB.c.status == "pending") & (JOB.c.run_after <= now(connection))
            return connection.execute(sa.select(sa.func.count()).where(ready)).scalar_one()

    def workers(self, alive_seconds: float) -> int:
        """How many worker processes gave a sign of life within so many seconds."""
        with reading(self._engine) as connection:
            return count_workers(connection, now(connection), alive_seconds)

    def take_announcements(self, limit: int, jobs: list[uuid.UUID] | None = None) -> list[uuid.UUID]:
        """Pending jobs whose time to be announced has come, each for one caller only: it is moved on.

        The pause until the next announcement doubles each time. With `jobs`, only those are looked at.
        """
        with writing(self._engine) as connection:
            time = now(connection)
            due = (JOB.c.status == "pending") & (JOB.c.announce_after <= time)
            if jobs is not None:
                due &= JOB.c.job_id.in_(jobs)
            query = sa.select(JOB.c.job_id, JOB.c.announcements).where(due).order_by(JOB.c.announce_after)
            # Rows that another sweeper is just taking are its own.
            taken = connection.execute(query.limit(limit).with_for_update(skip_locked=True)).all()
            if taken:
                moved = sa.update(JOB).where(JOB.c.job_id == sa.bindparam("id"))
                values = {"announce_after": sa.bindparam("next"), "announcements": JOB.c.announcements + 1}
                connection.execute(
                    moved.values(values),
                    [{"id": row.job_id, "next": time + self._pause(row.announcements)} for row in taken],
                )
            return [row.job_id for row in taken]

    def _pause(self, announcements: int) -> int:
        return microseconds(min(self._pauses.first * 2 ** min(announcements, 30), self._pauses.longest))

    def heartbeat(self, worker: str, threads: int, *, starting: bool = False) -> None:
        """Notes that the worker lives; with `starting`, that it has just started."""
        with writing(self._engine) as connection:
            time = now(connection)
            alive = {"seen_at": time, "threads": threads} | ({"started_at": time} if starting else {})
            known = sa.update(HEARTBEAT).where(HEARTBEAT.c.worker == worker).values(alive)
            if connection.execute(known).rowcount == 0:
                row = {"worker": worker, "started_at": time} | alive
                connection.execute(sa.insert(HEARTBEAT).values(row))

    def forget(self, worker: str) -> None:
        """Removes the row of a worker that stops in an orderly way."""
        with writing(self._engine) as connection:
            connection.execute(sa.delete(HEARTBEAT).where(HEARTBEAT.c.worker == worker))


def count_workers(connection: Connection, time: int, alive_seconds: float) -> int:
    alive = HEARTBEAT.c.seen_at >= time - microseconds(alive_seconds)
    return connection.execute(sa.select(sa.func.count()).where(alive)).scalar_one()
