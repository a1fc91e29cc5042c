"""What a client may ask of a job at any time, in one read by primary key."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from videoqueue.jobs.database import reading
from videoqueue.jobs.tables import JOB

_BY_ID = sa.select(
    JOB.c.job_id,
    JOB.c.status,
    JOB.c.progress,
    JOB.c.created_at,
    JOB.c.updated_at,
    JOB.c.error_message,
    JOB.c.results_etag,
).where(JOB.c.job_id == sa.bindparam("wanted"))


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How a job stands; times in microseconds since 1970."""

    job_id: uuid.UUID
    status: str
    progress: float
    created_at: int
    updated_at: int
    #: The last error; also of a try that will be repeated.
    error_message: str | None
    #: SHA-256 of the results; set exactly when completed.
    results_etag: str | None


def read_progress(engine: Engine, job_id: uuid.UUID) -> JobProgress | None:
    with reading(engine) as connection:
        row = connection.execute(_BY_ID, {"wanted": job_id}).one_or_none()
    return None if row is None else JobProgress(*row)
