"""The values that the store's transitions write, and reading a claim back."""

from __future__ import annotations

import uuid
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from videoqueue.errors import LeaseLostError
from videoqueue.jobs.database import microseconds
from videoqueue.jobs.models import CHUNK, JOB
from videoqueue.jobs.records import Claim, Limits, NewJob, Setback

Changes: TypeAlias = dict[str, Any]


def new_row(job_id: uuid.UUID, new: NewJob, time: int, limits: Limits) -> Changes:
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


def fenced(connection: Connection, claim: Claim, changes: Changes) -> None:
    """Updates the row of a running attempt, or raises LeaseLostError."""
    updated = connection.execute(
        sa.update(JOB)
        .where(JOB.c.job_id == claim.job_id, JOB.c.status == "running", JOB.c.attempt == claim.attempt)
        .values(changes)
    )
    if updated.rowcount != 1:
        raise LeaseLostError("Another worker owns this job now.")


def set_back(limits: Limits, setback: Setback, reason: str | None, time: int, delay: float = 0.0) -> Changes:
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
    final = (
        f"Gave up after {limit} tries in a row: {reason}"
        if setback == "failures"
        else f"The worker stopped {limit} times while processing this video. Last: {reason}"
    )
    return again | {
        setback: counter + 1,
        "status": sa.case((last, "failed"), else_="pending"),
        "error_message": sa.case((last, final), else_=reason),
        "finished_at": sa.case((last, time), else_=sa.null()),
    }


def end_of_attempt(until: int | sa.ColumnElement[int]) -> Changes:
    """Adds the attempt's time to the job's; a clock set back must not take any off."""
    spent = sa.func.coalesce(until - JOB.c.claimed_at, 0)
    return {"claimed_at": None, "worked": JOB.c.worked + sa.case((spent > 0, spent), else_=0)}


def claim_of(connection: Connection, job_id: uuid.UUID) -> Claim:
    row = connection.execute(sa.select(JOB).where(JOB.c.job_id == job_id)).one()
    last = connection.execute(
        sa.select(CHUNK.c.seq, CHUNK.c.first_frame, CHUNK.c.frame_count, CHUNK.c.last_index)
        .where(CHUNK.c.job_id == job_id)
        .order_by(CHUNK.c.seq.desc())
        .limit(1)
    ).one_or_none()
    return Claim(
        job_id=row.job_id,
        attempt=row.attempt,
        pipeline_id=row.pipeline_id,
        frame_stride=row.frame_stride,
        max_frames=row.max_frames,
        input_key=row.input_key,
        failures=row.failures,
        start_after=None if last is None else _last_index(last, row.frame_stride),
        next_seq=last.seq + 1 if last else 0,
        worked_seconds=row.worked / 1_000_000,
    )


def _last_index(chunk: Any, stride: int) -> int:
    """The index of the chunk's last frame; older releases did not store it, and knew no missing frames."""
    if chunk.last_index is not None:
        return int(chunk.last_index)
    return int(chunk.first_frame + (chunk.frame_count - 1) * stride)


def tenths(progress: float) -> float:
    """Progress in tenths, rounded down and short of the 1.0 that only completion sets."""
    return min(int(progress * 10), 9) / 10
