"""What one job is doing, for its owner: its row, and what a pending one waits for."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from videoqueue.jobs.changes import select_job
from videoqueue.jobs.database import now, reading
from videoqueue.jobs.quotas import limits_of
from videoqueue.jobs.tables import JOB, owned_by
from videoqueue.jobs.types import Job, OwnerLimits, OwnerScope

#: worker: for a free one. retry: for the pause after a failed attempt. owner_limit: until fewer jobs of its
#: owner run.
WaitingFor: TypeAlias = Literal["worker", "retry", "owner_limit"]
WAITING_FOR: Final[tuple[WaitingFor, ...]] = get_args(WaitingFor)


@dataclass(frozen=True)
class JobDetail:
    """A job, and what it waits for; None unless it is pending."""

    job: Job
    waiting_for: WaitingFor | None


def detail(engine: Engine, job_id: uuid.UUID, owner: OwnerScope, limits: OwnerLimits) -> JobDetail | None:
    """Returns a job of the owner with what it waits for, or None if there is none with this id.

    Args:
        engine: the database.
        job_id: the job.
        owner: whose job it is.
        limits: those of the settings, which hold where the owner has no exception.

    Raises:
        DatabaseUnavailableError: the database cannot be used.
    """
    with reading(engine) as connection:
        job = select_job(connection, (JOB.c.job_id == job_id) & owned_by(owner))
        return None if job is None else JobDetail(job, _waiting_for(connection, job, limits))


def _waiting_for(connection: Connection, job: Job, limits: OwnerLimits) -> WaitingFor | None:
    if job.status != "pending":
        return None
    if job.run_after > now(connection):
        return "retry"
    return "owner_limit" if _is_at_limit(connection, job.owner, limits) else "worker"


def _is_at_limit(connection: Connection, owner: str, limits: OwnerLimits) -> bool:
    limit = limits_of(connection, owner, limits).max_running
    if limit == 0:
        return False
    # Written like this, the condition is that of the index of running jobs.
    running = sa.select(sa.literal(1)).where(JOB.c.owner == owner, sa.text("job.status = 'running'"))
    return connection.execute(running.offset(limit - 1).limit(1)).scalar_one_or_none() is not None
