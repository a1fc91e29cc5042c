"""The end of an attempt, whichever way: everything that belongs in its transaction is done here.

The row changes first, then the owner's next job becomes due, then the webhook event is stored, and the
counters are raised last.
"""

from __future__ import annotations

import uuid
from typing import Final, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from videoqueue.jobs.changes import Changes
from videoqueue.jobs.counters import raise_counters
from videoqueue.jobs.measures import Ended, ended
from videoqueue.jobs.tables import CHUNK, JOB
from videoqueue.jobs.turns import pass_turn
from videoqueue.jobs.types import TERMINAL, OwnerLimits, Setback, Status
from videoqueue.jobs.webhook_table import record_event

_COLUMNS: Final = (
    JOB.c.owner,
    JOB.c.status,
    JOB.c.pipeline_id,
    JOB.c.started_at,
    JOB.c.finished_at,
    JOB.c.duration,
)


def end_attempt(
    connection: Connection,
    job_id: uuid.UUID,
    running: sa.ColumnElement[bool],
    changes: Changes,
    limits: OwnerLimits,
    time: int,
    setback: Setback | Literal["expiry"] | None = None,
    *,
    webhooks: bool,
) -> Status | None:
    """Ends the attempt of a running job: the job is completed, failed, or pending again.

    Args:
        connection: the transaction.
        job_id: the job.
        running: the condition under which the job is changed.
        changes: the values to write.
        limits: the limits of owners.
        time: the time of the transaction.
        setback: why the attempt ended without an outcome; None if it ended with one.
        webhooks: whether a webhook event is stored if the job ends.

    Returns:
        The state of the job, or None if the condition was not met. Then nothing was changed.
    """
    changed = connection.execute(
        sa.update(JOB)
        .where(JOB.c.job_id == job_id, JOB.c.status == "running", running)
        .values(changes)
        .returning(*_COLUMNS)
    ).one_or_none()
    if changed is None:
        return None
    status: Status = changed.status
    pass_turn(connection, limits, changed.owner, time)
    if webhooks and status in TERMINAL:
        record_event(connection, job_id, time)
    job = Ended(
        status=status,
        pipeline_id=changed.pipeline_id,
        started_at=changed.started_at,
        finished_at=changed.finished_at,
        duration=changed.duration,
        frames=_frames(connection, job_id) if status == "completed" else 0,
    )
    raise_counters(connection, job_id, ended(job, setback))
    return status


def _frames(connection: Connection, job_id: uuid.UUID) -> int:
    query = sa.select(sa.func.coalesce(sa.func.sum(CHUNK.c.frame_count), 0)).where(CHUNK.c.job_id == job_id)
    return int(connection.execute(query).scalar_one())
