"""Reads of jobs: for clients, operators and readiness checks, the sweeper and the purger."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from videoqueue.jobs.database import microseconds, now, reading
from videoqueue.jobs.tables import CHUNK, JOB, JOB_COLUMNS, owned_by
from videoqueue.jobs.turns import count_claimable
from videoqueue.jobs.types import (
    ALL_OWNERS,
    Counts,
    ExpiredLease,
    Job,
    JobProgress,
    OwnerLimits,
    OwnerScope,
    Status,
)
from videoqueue.jobs.workers import count_alive_at
from videoqueue.jobs.writable import require_writable

_PROGRESS: Final = sa.select(
    JOB.c.job_id,
    JOB.c.status,
    JOB.c.progress,
    JOB.c.created_at,
    JOB.c.updated_at,
    JOB.c.error_message,
    JOB.c.results_etag,
).where(JOB.c.job_id == sa.bindparam("wanted"))
_PROGRESS_OF_OWNER: Final = _PROGRESS.where(JOB.c.owner == sa.bindparam("owner"))


class JobQueries:
    """Each method is one short read transaction.

    The methods about jobs take the owner whose jobs they read, or `ALL_OWNERS`. Counts for readiness and the
    duties of the service are about the jobs of all owners.

    All raise DatabaseUnavailableError when the database cannot be used.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def progress(self, job_id: uuid.UUID, owner: OwnerScope) -> JobProgress | None:
        """Returns the part of a job that clients poll for, or None if the owner has no job with this id."""
        with reading(self._engine) as connection:
            if owner is ALL_OWNERS:
                row = connection.execute(_PROGRESS, {"wanted": job_id}).one_or_none()
            else:
                wanted = {"wanted": job_id, "owner": owner}
                row = connection.execute(_PROGRESS_OF_OWNER, wanted).one_or_none()
        return None if row is None else JobProgress(*row)

    def is_backlog_full(self, limit: int, owner: str, idempotency_key: str | None) -> bool:
        """Returns whether a submission would exceed the limit of pending jobs.

        The query reads at most `limit` entries of an index.

        Args:
            limit: the maximum number of pending jobs; 0 for no limit.
            owner: the owner of the submission.
            idempotency_key: the key of the submission. One that is known makes no new job, so it never
                exceeds.
        """
        if limit == 0:
            return False
        full = sa.select(sa.literal(1)).where(JOB.c.status == "pending").offset(max(0, limit - 1)).limit(1)
        known = sa.select(JOB.c.job_id).where(JOB.c.owner == owner, JOB.c.idempotency_key == idempotency_key)
        with reading(self._engine) as connection:
            if connection.execute(full).scalar_one_or_none() is None:
                return False
            return idempotency_key is None or connection.execute(known).scalar_one_or_none() is None

    def latest(
        self,
        owner: OwnerScope,
        limit: int,
        status: Status | None = None,
        before: tuple[int, uuid.UUID] | None = None,
    ) -> list[Job]:
        """Returns the owner's newest jobs, newest first.

        Args:
            owner: whose jobs.
            limit: the maximum number of jobs.
            status: if given, only jobs in that state.
            before: if given, only jobs that follow the one with this `created_at` and `job_id` in the list.
        """
        query = sa.select(*JOB_COLUMNS).where(owned_by(owner))
        query = query.order_by(JOB.c.created_at.desc(), JOB.c.job_id.desc()).limit(limit)
        if status is not None:
            query = query.where(JOB.c.status == status)
        if before is not None:
            last = sa.tuple_(*before, types=[JOB.c.created_at.type, JOB.c.job_id.type])
            query = query.where(sa.tuple_(JOB.c.created_at, JOB.c.job_id) < last)
        with reading(self._engine) as connection:
            return [Job(**row._mapping) for row in connection.execute(query)]

    def frames(self, job_id: uuid.UUID, owner: OwnerScope) -> int:
        """Returns the number of frames of the owner's job whose results are committed."""
        query = sa.select(sa.func.coalesce(sa.func.sum(CHUNK.c.frame_count), 0)).select_from(
            sa.join(CHUNK, JOB, CHUNK.c.job_id == JOB.c.job_id)
        )
        with reading(self._engine) as connection:
            return int(connection.execute(query.where(JOB.c.job_id == job_id, owned_by(owner))).scalar_one())

    def counts(self, alive_seconds: float) -> Counts:
        """Returns the length of the backlog and the number of live workers.

        Args:
            alive_seconds: the maximum age of a live worker's last heartbeat.

        Raises:
            DatabaseUnavailableError: also when the database would refuse to store a job.
        """
        self.require_writable()
        pending = sa.select(sa.func.count(), sa.func.min(JOB.c.created_at)).where(JOB.c.status == "pending")
        with reading(self._engine) as connection:
            time = now(connection)
            count, oldest = connection.execute(pending).one()
            return Counts(
                pending=count,
                oldest_pending_seconds=None if oldest is None else max(0, time - oldest) / 1_000_000,
                workers=count_alive_at(connection, time, alive_seconds),
            )

    def clock(self) -> int:
        """Returns the database's time, in microseconds since 1970."""
        with reading(self._engine) as connection:
            return now(connection)

    def expired_leases(self, limit: int) -> list[ExpiredLease]:
        """Returns running jobs whose lease has ended, the longest expired first."""
        with reading(self._engine) as connection:
            time = now(connection)
            expired = sa.select(JOB.c.job_id, JOB.c.attempt, JOB.c.worker, JOB.c.lease_until).where(
                JOB.c.status == "running", JOB.c.lease_until < time
            )
            return [
                ExpiredLease(
                    job_id=row.job_id,
                    attempt=row.attempt,
                    worker=row.worker,
                    seconds=(time - row.lease_until) / 1_000_000,
                )
                for row in connection.execute(expired.order_by(JOB.c.lease_until).limit(limit))
            ]

    def claimable(self, limits: OwnerLimits) -> int:
        """Returns the number of pending jobs that workers could claim now, under the limits of owners."""
        with reading(self._engine) as connection:
            return count_claimable(connection, limits, now(connection))

    def count_ended(self, owner: OwnerScope, seconds: float) -> int:
        """Returns the number of the owner's jobs that ended more than `seconds` ago."""
        with reading(self._engine) as connection:
            ended = JOB.c.finished_at < now(connection) - microseconds(seconds)
            return connection.execute(sa.select(sa.func.count()).where(ended, owned_by(owner))).scalar_one()

    def ended(self, owner: OwnerScope, seconds: float, limit: int) -> tuple[int, Sequence[uuid.UUID]]:
        """Returns a time and the ids of the owner's jobs that ended before it, the oldest first.

        Args:
            owner: whose jobs.
            seconds: how long before now the returned time is.
            limit: the maximum number of jobs.
        """
        with reading(self._engine) as connection:
            before = now(connection) - microseconds(seconds)
            old = sa.select(JOB.c.job_id).where(JOB.c.finished_at < before, owned_by(owner))
            return before, connection.scalars(old.order_by(JOB.c.finished_at).limit(limit)).all()

    def unreferenced(self, keys: Sequence[str]) -> list[str]:
        """Returns those of the storage keys that no job refers to."""
        with reading(self._engine) as connection:
            known = set(connection.scalars(sa.select(JOB.c.input_key).where(JOB.c.input_key.in_(keys))))
        return [key for key in keys if key not in known]

    def require_writable(self) -> None:
        """Checks that the database has the tables of this version and would store a job. Writes no row.

        Raises:
            DatabaseUnavailableError: it has not, would not, or does not respond.
        """
        require_writable(self._engine)
