"""Removes the rows of jobs, and remembers which videos are still to be removed.

A deletion is one transaction: the job, its results, its segments and its webhook event go, and a row of
`deleted_job` comes, with the key of the video. The caller then removes the video, and after it that row. If
the caller is killed in between, the next purge finds the row.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from videoqueue import audit
from videoqueue.errors import DatabaseUnavailableError
from videoqueue.jobs import measures
from videoqueue.jobs.counters import raise_counters
from videoqueue.jobs.database import now, reading, writing
from videoqueue.jobs.tables import DELETED_JOB, JOB, JOB_SEGMENTS, owned_by
from videoqueue.jobs.turns import pass_turn
from videoqueue.jobs.types import OwnerLimits, OwnerScope
from videoqueue.jobs.webhook_table import drop_event

_DELETED: Final = (JOB.c.input_key, JOB.c.owner, JOB.c.status, JOB.c.pipeline_id)


@dataclass(frozen=True)
class DeletedJob:
    """A job that is deleted, and the key of its video, which is still to be removed."""

    job_id: uuid.UUID
    input_key: str
    #: The owner whose next job may start now, because the deleted one was running and they have a limit.
    next_of: str | None = None


class Deletions:
    """Deletes jobs. Each method is one short transaction.

    All methods raise DatabaseUnavailableError when the database cannot be used.
    """

    def __init__(self, engine: Engine, limits: OwnerLimits) -> None:
        """Connects to nothing yet. `limits` are those of each owner that has no exceptions."""
        self._engine = engine
        self._limits = limits

    def delete(
        self, job_id: uuid.UUID, owner: OwnerScope, ended_before: int | None = None
    ) -> DeletedJob | None:
        """Removes a job of the owner and its results. A worker that processes it loses its lease.

        Args:
            job_id: the job.
            owner: whose job it is.
            ended_before: if given, the job stays if it has not ended before this time; microseconds since
                1970.

        Returns:
            The deleted job, or None if no job was removed.
        """
        condition = (JOB.c.job_id == job_id) & owned_by(owner)
        if ended_before is not None:
            condition &= JOB.c.finished_at < ended_before
        row, ended = None, False
        try:
            with writing(self._engine) as connection:
                query = sa.delete(JOB).where(condition).returning(*_DELETED)
                if (row := connection.execute(query).one_or_none()) is None:
                    return None
                connection.execute(sa.delete(JOB_SEGMENTS).where(JOB_SEGMENTS.c.job_id == job_id))
                drop_event(connection, job_id)
                time = now(connection)
                values = {"job_id": job_id, "input_key": row.input_key, "deleted_at": time}
                connection.execute(sa.insert(DELETED_JOB).values(values))
                ended = row.status == "running" and pass_turn(connection, self._limits, row.owner, time)
                raise_counters(connection, job_id, measures.deleted(row.status, row.pipeline_id))
        except DatabaseUnavailableError as error:
            # Only this transaction can have made the row: ids are never used again.
            if row is None or not (error.may_have_committed and self._is_deleted(job_id)):
                raise
        reason = {} if ended_before is None else {"reason": "retention"}
        audit.record("job_deleted", job_id=job_id, owner=row.owner, **reason)
        return DeletedJob(job_id, row.input_key, row.owner if ended else None)

    def unfinished(self, limit: int | None = None) -> Sequence[DeletedJob]:
        """Returns at most `limit` jobs whose video is still to be removed, the longest deleted first."""
        columns = (DELETED_JOB.c.job_id, DELETED_JOB.c.input_key)
        query = sa.select(*columns).order_by(DELETED_JOB.c.deleted_at).limit(limit)
        with reading(self._engine) as connection:
            return [DeletedJob(*row) for row in connection.execute(query)]

    def is_needed(self, deleted: DeletedJob) -> bool:
        """Returns whether another job has the same video."""
        query = sa.select(JOB.c.job_id).where(JOB.c.input_key == deleted.input_key).limit(1)
        with reading(self._engine) as connection:
            return connection.execute(query).one_or_none() is not None

    def finish(self, deleted: DeletedJob) -> None:
        """Forgets a deleted job, after its video was removed."""
        with writing(self._engine) as connection:
            connection.execute(sa.delete(DELETED_JOB).where(DELETED_JOB.c.job_id == deleted.job_id))

    def _is_deleted(self, job_id: uuid.UUID) -> bool:
        try:
            with reading(self._engine) as connection:
                query = sa.select(DELETED_JOB.c.job_id).where(DELETED_JOB.c.job_id == job_id)
                return connection.execute(query).one_or_none() is not None
        except DatabaseUnavailableError:
            return False
