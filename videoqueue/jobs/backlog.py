"""How much waits, asked before another job is taken in."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from videoqueue.jobs.database import reading
from videoqueue.jobs.tables import JOB


class Backlog:
    def __init__(self, engine: Engine, limit: int) -> None:
        """`limit` is the most jobs that may be pending; 0 for any number."""
        self._engine = engine
        self._limit = limit

    def is_full(self, idempotency_key: str | None, owner: str = "") -> bool:
        """Whether a new job would be one too many; one that was taken in under this key before is not new.

        One read; it looks at no more entries of the index than the limit.
        """
        full = (
            sa.select(sa.literal(1)).where(JOB.c.status == "pending").offset(max(0, self._limit - 1)).limit(1)
        )
        known = sa.select(JOB.c.job_id).where(JOB.c.owner == owner, JOB.c.idempotency_key == idempotency_key)
        with reading(self._engine) as connection:
            if self._limit == 0 or connection.execute(full).scalar_one_or_none() is None:
                return False
            return idempotency_key is None or connection.execute(known).scalar_one_or_none() is None
