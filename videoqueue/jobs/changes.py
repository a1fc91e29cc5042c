"""The values that the transitions of `store` write, and the statements that they share."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TypeAlias

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from videoqueue.errors import ErrorCode, IdempotencyKeyReusedError, LeaseLostError, shortened
from videoqueue.jobs.database import microseconds
from videoqueue.jobs.tables import CHUNK, JOB, JOB_COLUMNS
from videoqueue.jobs.types import Claim, Job, LeasePolicy, NewJob, Setback

#: Column names and the values to write: plain values or SQL expressions.
Changes: TypeAlias = dict[str, object]

_SAME_SUBMISSION = ("input_sha256", "pipeline_id", "frame_stride", "max_frames")


def new_row(job_id: uuid.UUID, new: NewJob, time: int, policy: LeasePolicy) -> Changes:
    """Returns the row of a pending job. It counts the announcement that the caller makes after the commit."""
    return vars(new) | {
        "job_id": job_id,
        "status": "pending",
        "progress": 0.0,
        "run_after": time,
        "announce_after": time + microseconds(policy.announce_seconds),
        "announcements": 1,
        "created_at": time,
        "updated_at": time,
    }


def select_job(
    connection: Connection, condition: sa.ColumnElement[bool], *, lock: bool = False
) -> Job | None:
    """Returns the one job that meets the condition, or None.

    Args:
        connection: an open transaction.
        condition: a condition that at most one job meets.
        lock: whether to lock the row until the end of the transaction (Postgres).
    """
    query = sa.select(*JOB_COLUMNS).where(condition)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else Job(**row._mapping)


def earlier_job(connection: Connection, new: NewJob) -> uuid.UUID | None:
    """Returns the id of the owner's job that was submitted with the same idempotency key, or None.

    Raises:
        IdempotencyKeyReusedError: that job has another video or other parameters.
    """
    if new.idempotency_key is None:
        return None
    job = select_job(connection, (JOB.c.owner == new.owner) & (JOB.c.idempotency_key == new.idempotency_key))
    if job is None:
        return None
    if any(getattr(job, name) != getattr(new, name) for name in _SAME_SUBMISSION):
        raise IdempotencyKeyReusedError(
            "This Idempotency-Key was used before, for another video or other parameters. "
            "Use a new key for a new submission."
        )
    return job.job_id


def update_fenced(connection: Connection, claim: Claim, changes: Changes) -> None:
    """Updates the row of a running attempt.

    Raises:
        LeaseLostError: the job no longer belongs to this attempt; nothing was changed.
    """
    updated = connection.execute(
        sa.update(JOB)
        .where(JOB.c.job_id == claim.job_id, JOB.c.status == "running", JOB.c.attempt == claim.attempt)
        .values(changes)
    )
    if updated.rowcount != 1:
        raise lost()


def lost() -> LeaseLostError:
    """Returns the error of a write by an attempt that the job no longer belongs to."""
    return LeaseLostError("Another worker owns this job now, or it was deleted.")


def start_of_attempt(policy: LeasePolicy, worker: str, time: int) -> Changes:
    """Returns the values of a pending job that a worker claims."""
    return {
        "status": "running",
        "attempt": JOB.c.attempt + 1,
        "worker": worker,
        "claimed_at": time,
        "lease_until": time + microseconds(policy.lease_seconds),
        "started_at": sa.func.coalesce(JOB.c.started_at, time),
        "updated_at": time,
    }


def set_back(
    policy: LeasePolicy,
    setback: Setback,
    reason: str | None,
    time: int,
    delay: float = 0.0,
    code: ErrorCode | None = None,
) -> Changes:
    """Returns the values of a running job that goes back to pending, or fails at the limit of setbacks.

    Args:
        policy: the limits of failures and crashes in a row.
        setback: what happened.
        reason: the error for the user.
        time: the time of the transaction.
        delay: seconds before the job can be claimed again.
        code: the error for programs if the job fails; that of the limit by default.
    """
    reason = shortened(reason) if reason else None
    again: Changes = {
        "status": "pending",
        "lease_until": None,
        "error_message": reason,
        "run_after": time + microseconds(delay),
        "announce_after": time + microseconds(delay),
        "announcements": 0,
        "updated_at": time,
    }
    if setback == "interruption":
        return again
    counter = JOB.c[setback]
    limit = policy.max_attempts if setback == "failures" else policy.max_crashes
    last = counter + 1 >= limit
    why = (
        f"Gave up after {limit} tries in a row (VIDEOQUEUE_MAX_ATTEMPTS)"
        if setback == "failures"
        else f"The worker stopped {limit} times in a row while processing this video (VIDEOQUEUE_MAX_CRASHES)"
    )
    final = shortened(f"{why}: {reason}")
    code = code or ("too_many_failures" if setback == "failures" else "worker_crashed")
    return again | {
        setback: counter + 1,
        "status": sa.case((last, "failed"), else_="pending"),
        "error_message": sa.case((last, final), else_=reason),
        "error_code": sa.case((last, code), else_=sa.null()),
        "finished_at": sa.case((last, time), else_=sa.null()),
    }


def end_of_attempt(until: int | sa.ColumnElement[int]) -> Changes:
    """Returns the values that add the attempt's time to the job's. A clock that was set back adds nothing."""
    spent = sa.func.coalesce(until - JOB.c.claimed_at, 0)
    return {"claimed_at": None, "worked": JOB.c.worked + sa.case((spent > 0, spent), else_=0)}


def claim_of(job: Job, last: sa.Row[int, int, int | None] | None, owner_max_running: int) -> Claim:
    """Returns the claim of a job that has just been claimed.

    Args:
        job: the row after the claim.
        last: the job's last chunk, from `last_chunk`.
        owner_max_running: the owner's limit of running jobs; 0 for none.
    """
    version = job.pipeline_version
    # Releases before versions existed wrote chunks without a last index, and resumed under any version.
    if version is None or (last is not None and last.last_index is None):
        version, last = None, None
    return Claim(
        job_id=job.job_id,
        owner=job.owner,
        attempt=job.attempt,
        pipeline_id=job.pipeline_id,
        frame_stride=job.frame_stride,
        max_frames=job.max_frames,
        input_key=job.input_key,
        input_bytes=job.input_bytes,
        input_sha256=job.input_sha256,
        failures=job.failures,
        pipeline_version=version,
        start_after=None if last is None else last.last_index,
        next_seq=0 if last is None else last.seq + 1,
        worked_seconds=job.worked / 1_000_000,
        owner_is_limited=owner_max_running > 0,
    )


def last_chunk(connection: Connection, job_id: uuid.UUID) -> sa.Row[int, int, int | None] | None:
    """Returns `seq`, `first_frame` and `last_index` of the last chunk of a job, or None."""
    query = sa.select(CHUNK.c.seq, CHUNK.c.first_frame, CHUNK.c.last_index).where(CHUNK.c.job_id == job_id)
    return connection.execute(query.order_by(CHUNK.c.seq.desc()).limit(1)).one_or_none()


def start_over(connection: Connection, claim: Claim, version: str) -> Claim:
    """Removes the chunks of a job.

    Returns:
        The claim of an attempt that starts at the first frame, under `version`.
    """
    last = last_chunk(connection, claim.job_id)
    connection.execute(sa.delete(CHUNK).where(CHUNK.c.job_id == claim.job_id))
    reached = -1 if last is None else last.first_frame if last.last_index is None else last.last_index
    return replace(
        claim,
        pipeline_version=version,
        start_after=None,
        next_seq=0,
        repeats_until=max(claim.repeats_until, reached),
    )


def reset_setbacks(claim: Claim, last_index: int) -> Changes:
    """Returns the values that reset the counted setbacks, if the results are new to the job.

    Repeated frames do not count: two versions that take turns and crash at the same frame would otherwise
    reset each other's crashes forever.
    """
    return {"failures": 0, "crashes": 0} if last_index > claim.repeats_until else {}


def tenths(progress: float) -> float:
    """Returns the progress rounded down to a multiple of 0.1, at most 0.9: only completion sets 1.0."""
    return min(int(progress * 10), 9) / 10
