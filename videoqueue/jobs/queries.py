"""What operators look at: the latest jobs, how long they wait, how many workers live."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from videoqueue.jobs.database import now, reading
from videoqueue.jobs.readiness import require_usable
from videoqueue.jobs.tables import CHUNK, JOB, Status
from videoqueue.jobs.workers import count_workers


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How the service stands; `oldest_pending_seconds` is None when no job is pending."""

    pending: int
    oldest_pending_seconds: float | None
    workers: int


class Overview:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def latest(self, limit: int, status: Status | None = None) -> Sequence[sa.Row[Any]]:
        """The rows of the newest jobs, newest first."""
        query = sa.select(JOB).order_by(JOB.c.created_at.desc(), JOB.c.job_id).limit(limit)
        if status is not None:
            query = query.where(JOB.c.status == status)
        with reading(self._engine) as connection:
            return connection.execute(query).all()

    def frames(self, job_id: uuid.UUID) -> int:
        """How many frames of the job have committed results."""
        query = sa.select(sa.func.coalesce(sa.func.sum(CHUNK.c.frame_count), 0))
        with reading(self._engine) as connection:
            return int(connection.execute(query.where(CHUNK.c.job_id == job_id)).scalar_one())

    def standing(self, alive_seconds: float) -> Standing:
        """The backlog, and the workers that gave a sign of life within `alive_seconds`.

        Raises:
            DatabaseUnavailableError: the database does not answer, or would refuse a job.
        """
        require_usable(self._engine)
        pending = sa.select(sa.func.count(), sa.func.min(JOB.c.created_at)).where(JOB.c.status == "pending")
        with reading(self._engine) as connection:
            time = now(connection)
            count, oldest = connection.execute(pending).one()
            return Standing(
                pending=count,
                oldest_pending_seconds=None if oldest is None else max(0, time - oldest) / 1_000_000,
                workers=count_workers(connection, time, alive_seconds),
            )

    def clock(self) -> int:
        """The database's time, by which the times in rows are to be read; microseconds."""
        with reading(self._engine) as connection:
            return now(connection)
