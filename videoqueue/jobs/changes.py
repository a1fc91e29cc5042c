"""The values that the store's transitions write, and reading a claim back."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from videoqueue.errors import MOST_CHARACTERS, IdempotencyKeyReusedError, LeaseLostError
from videoqueue.jobs.database import microseconds
from videoqueue.jobs.tables import CHUNK, JOB
from videoqueue.jobs.types import Claim, LeasePolicy, NewJob, Setback

Changes: TypeAlias = dict[str, Any]


def new_row(job_id: uuid.UUID, new: NewJob, time: int, limits: LeasePolicy) -> Changes:
    """A pending job whose first announcement is being made by whoever inserts it."""
    return vars(new) | {
        "job_id": job_id,
        "status": "pending",
        "progress": 0.0,
        "run_after": time,
        "announce_after": time + microseconds(limits.announce_seconds),
        "announcements": 1,
        "created_at": time,
        "updated_at": time,
    }


def earlier(connection: Connection, new: NewJob) -> uuid.UUID:
    """The job that was submitted with the same idempotency key.

    Raises:
        IdempotencyKeyReusedError: it has other content or parameters.
    """
    same = (JOB.c.owner == new.owner) & (JOB.c.idempotency_key == new.idempotency_key)
    row = connection.execute(sa.select(JOB).where(same)).one()
    if any(
        getattr(row, name) != getattr(new, name)
        for name in ("input_sha256", "pipeline_id", "frame_stride", "max_frames")
    ):
        raise IdempotencyKeyReusedError(
            "This Idempotency-Key was used before, for another video or other parameters. "
            "Use a new key for a new submission."
        )
    found: uuid.UUID = row.job_id
    return found


def fenced(connection: Connection, claim: Claim, changes: Changes) -> None:
    """Updates the row of a running attempt, or raises LeaseLostError."""
    updated = connection.execute(
        sa.update(JOB)
        .where(JOB.c.job_id == claim.job_id, JOB.c.status == "running", JOB.c.attempt == claim.attempt)
        .values(changes)
    )
    if updated.rowcount != 1:
        raise LeaseLostError("Another worker owns this job now.")


def set_back(
    limits: LeasePolicy, setback: Setback, reason: str | None, time: int, delay: float = 0.0
) -> Changes:
    """Back to pending for `delay` seconds at least, or failed when this setback was one too many."""
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
    limit = limits.max_attempts if setback == "failures" else limits.max_crashes
    last = counter + 1 >= limit
    why = (
        f"Gave up after {limit} tries in a row (VIDEOQUEUE_MAX_ATTEMPTS)"
        if setback == "failures"
        else f"The worker stopped {limit} times in a row while processing this video (VIDEOQUEUE_MAX_CRASHES)"
    )
    final = shortened(f"{why}: {reason}")
    return again | {
        setback: counter + 1,
        "status": sa.case((last, "failed"), else_="pending"),
        "error_message": sa.case((last, final), else_=reason),
        "finished_at": sa.case((last, time), else_=sa.null()),
    }


def shortened(message: str) -> str:
    """Returns a message of a job as it is stored: cut, with an ellipsis, when it is too long."""
    return message if len(message) <= MOST_CHARACTERS else message[: MOST_CHARACTERS - 1] + "…"


def end_of_attempt(until: int | sa.ColumnElement[int]) -> Changes:
    """Adds the attempt's time to the job's; a clock set back must not take any off."""
    spent = sa.func.coalesce(until - JOB.c.claimed_at, 0)
    return {"claimed_at": None, "worked": JOB.c.worked + sa.case((spent > 0, spent), else_=0)}


def claim_of(connection: Connection, job_id: uuid.UUID) -> Claim:
    row = connection.execute(sa.select(JOB).where(JOB.c.job_id == job_id)).one()
    last = _last_chunk(connection, job_id)
    # A chunk without its last frame is from a release that knows no version, which resumes under any.
    if row.pipeline_version is None or (last is not None and last.last_index is None):
        version, last = None, None
    else:
        version = row.pipeline_version
    return Claim(
        job_id=row.job_id,
        attempt=row.attempt,
        pipeline_id=row.pipeline_id,
        frame_stride=row.frame_stride,
        max_frames=row.max_frames,
        input_key=row.input_key,
        failures=row.failures,
        pipeline_version=version,
        start_after=None if last is None else last.last_index,
        next_seq=0 if last is None else last.seq + 1,
        worked_seconds=row.worked / 1_000_000,
    )


def begun(connection: Connection, claim: Claim, version: str) -> Claim:
    """Removes the chunks of a job that begins anew; the claim for that."""
    last = _last_chunk(connection, claim.job_id)
    connection.execute(sa.delete(CHUNK).where(CHUNK.c.job_id == claim.job_id))
    reached = -1 if last is None else last.first_frame if last.last_index is None else last.last_index
    return replace(
        claim,
        pipeline_version=version,
        start_after=None,
        next_seq=0,
        repeats_until=max(claim.repeats_until, reached),
    )


def forgiven(claim: Claim, last_index: int) -> Changes:
    """Clears the setbacks in a row, for results that the job never had.

    What is done again proves nothing: two versions that take turns, and crash at the same frame, would
    otherwise forgive each other for ever.
    """
    return {"failures": 0, "crashes": 0} if last_index > claim.repeats_until else {}


def _last_chunk(connection: Connection, job_id: uuid.UUID) -> Any:
    query = sa.select(CHUNK.c.seq, CHUNK.c.first_frame, CHUNK.c.last_index).where(CHUNK.c.job_id == job_id)
    return connection.execute(query.order_by(CHUNK.c.seq.desc()).limit(1)).one_or_none()


def tenths(progress: float) -> float:
    """Progress in tenths, rounded down and short of the 1.0 that only completion sets."""
    return min(int(progress * 10), 9) / 10
