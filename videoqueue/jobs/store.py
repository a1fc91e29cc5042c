"""Every change of a job row. Each is "from this state to that, only if still so", its row count checked.

    pending --claim--> running --complete--> completed
       ^                  |  \\---fail------> failed
       +-- release/expire-+

`attempt` is the fencing token: a worker's write counts only while the row is running with the attempt it
claimed. Terminal states never change. Durations are seconds; times in rows are microseconds (see `models`).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, Literal, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from videoqueue.errors import IdempotencyKeyReusedError, LeaseLostError
from videoqueue.jobs.database import now, reading, writing
from videoqueue.jobs.models import Job, ResultChunk

_job = cast(sa.Table, Job.__table__)
_chunk = cast(sa.Table, ResultChunk.__table__)

#: A new job is announced by the process that accepted it; a sweeper does so only when it waits this long.
_FIRST_ANNOUNCEMENT = 10.0
_LONGEST_ANNOUNCEMENT = 600.0
_SECOND = 1_000_000

#: Why a running job goes back: only passing errors and crashes are counted, a shutdown is not.
Setback = Literal["failures", "crashes", "interruption"]


@dataclass(frozen=True, kw_only=True)
class NewJob:
    pipeline_id: str
    frame_stride: int
    max_frames: int | None
    input_key: str
    input_bytes: int
    input_sha256: str
    idempotency_key: str | None = None
    owner: str = ""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A running attempt and where it resumes: behind frame `start_after`, with chunk number `next_seq`."""

    job_id: uuid.UUID
    attempt: int
    pipeline_id: str
    frame_stride: int
    max_frames: int | None
    input_key: str
    failures: int
    start_after: int | None
    next_seq: int


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a job has met enough setbacks in a row to fail, and how long a lease holds."""

    lease_seconds: float = 20.0
    max_attempts: int = 5
    max_crashes: int = 3


class JobStore:
    """Each method is a short transaction of its own; DatabaseUnavailableError when the database is away."""

    def __init__(self, engine: Engine, limits: Limits) -> None:
        self.engine = engine
        self.limits = limits

    def create(self, new: NewJob) -> tuple[uuid.UUID, bool]:
        """Inserts a pending job; answers its id and whether it is new.

        With an idempotency key that exists already, the id of the earlier job is answered.

        Raises:
            IdempotencyKeyReusedError: the earlier job has other content or parameters.
        """
        job_id = uuid.uuid4()
        try:
            with writing(self.engine) as connection:
                time = now(connection)
                row = vars(new) | {
                    "job_id": job_id,
                    "status": "pending",
                    "progress": 0.0,
                    "run_after": time,
                    "announce_after": time + _micro(_FIRST_ANNOUNCEMENT),
                    "announcements": 1,
                    "created_at": time,
                    "updated_at": time,
                }
                connection.execute(sa.insert(_job).values(row))
        except sa.exc.IntegrityError:
            if new.idempotency_key is None:
                raise
            return self._earlier(new), False
        return job_id, True

    def _earlier(self, new: NewJob) -> uuid.UUID:
        same = (_job.c.owner == new.owner) & (_job.c.idempotency_key == new.idempotency_key)
        with reading(self.engine) as connection:
            row = connection.execute(sa.select(_job).where(same)).one()
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

    def get(self, job_id: uuid.UUID) -> sa.Row[Any] | None:
        """The job's row, or None."""
        with reading(self.engine) as connection:
            return connection.execute(sa.select(_job).where(_job.c.job_id == job_id)).one_or_none()

    def claim(self, job_id: uuid.UUID, worker: str) -> Claim | None:
        """Takes a pending job whose time has come, for one lease. None when it is not to be had."""
        with writing(self.engine) as connection:
            time = now(connection)
            claimed = connection.execute(
                sa.update(_job)
                .where(_job.c.job_id == job_id, _job.c.status == "pending", _job.c.run_after <= time)
                .values(
                    status="running",
                    attempt=_job.c.attempt + 1,
                    worker=worker,
                    lease_until=time + _micro(self.limits.lease_seconds),
                    started_at=sa.func.coalesce(_job.c.started_at, time),
                    updated_at=time,
                )
            )
            if claimed.rowcount != 1:
                return None
            return _claim_of(connection, job_id)

    def renew(self, claim: Claim) -> None:
        """Extends the lease. Raises LeaseLostError when the job is no longer this attempt's."""
        with writing(self.engine) as connection:
            lease = now(connection) + _micro(self.limits.lease_seconds)
            _fenced(connection, claim, {"lease_until": lease})

    def checkpoint(self, claim: Claim, seq: int, payload: bytes, frames: list[int], progress: float) -> None:
        """Commits the results of `frames` as chunk `seq`, with progress and a renewed lease.

        Raises LeaseLostError, and then nothing is stored.
        """
        with writing(self.engine) as connection:
            time = now(connection)
            changes = {
                "lease_until": time + _micro(self.limits.lease_seconds),
                "progress": _tenths(progress),
                "failures": 0,
                "crashes": 0,
                "updated_at": time,
            }
            # The fenced update comes first: it locks the row, so a worker that lost it inserts nothing.
            _fenced(connection, claim, changes)
            connection.execute(
                sa.insert(_chunk).values(
                    job_id=claim.job_id,
                    seq=seq,
                    first_frame=frames[0],
                    frame_count=len(frames),
                    payload=payload,
                )
            )

    def complete(self, claim: Claim, etag: str) -> None:
        """Ends the job with the results committed so far. Raises LeaseLostError."""
        self._finish(
            claim, {"status": "completed", "progress": 1.0, "results_etag": etag, "error_message": None}
        )

    def fail(self, claim: Claim, reason: str) -> None:
        """Ends the job for good; `reason` is for the user. Raises LeaseLostError."""
        self._finish(claim, {"status": "failed", "error_message": reason})

    def _finish(self, claim: Claim, changes: dict[str, Any]) -> None:
        with writing(self.engine) as connection:
            time = now(connection)
            _fenced(
                connection, claim, changes | {"lease_until": None, "finished_at": time, "updated_at": time}
            )

    def release(self, claim: Claim, setback: Setback, reason: str | None, delay: float = 0.0) -> bool:
        """Gives a running job back, to be claimed again after `delay` seconds; chunks stay.

        Answers True when it waits for another try, False when this setback was one too many and it failed.
        Raises LeaseLostError.
        """
        with writing(self.engine) as connection:
            time = now(connection)
            _fenced(connection, claim, self._set_back(setback, reason, time, delay))
            status = connection.execute(
                sa.select(_job.c.status).where(_job.c.job_id == claim.job_id)
            ).scalar_one()
            return bool(status == "pending")

    def expire(self, job_id: uuid.UUID) -> bool:
        """Takes a running job from a worker whose lease has ended. False when there was nothing to expire."""
        with writing(self.engine) as connection:
            time = now(connection)
            reason = "The worker stopped while processing this video."
            dead = connection.execute(
                sa.update(_job)
                .where(_job.c.job_id == job_id, _job.c.status == "running", _job.c.lease_until < time)
                .values(self._set_back("crashes", reason, time, 0.0))
            )
            return dead.rowcount == 1

    def _set_back(self, setback: Setback, reason: str | None, time: int, delay: float) -> dict[str, Any]:
        again: dict[str, Any] = {
            "status": "pending",
            "lease_until": None,
            "error_message": reason,
            "run_after": time + _micro(delay),
            "announce_after": time + _micro(delay),
            "announcements": 0,
            "updated_at": time,
        }
        if setback == "interruption":
            return again
        counter = _job.c[setback]
        limit = self.limits.max_attempts if setback == "failures" else self.limits.max_crashes
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

    def due(self, limit: int) -> tuple[list[uuid.UUID], list[uuid.UUID]]:
        """Ids of jobs whose lease has ended, and of pending jobs to announce; at most `limit` of each."""
        with reading(self.engine) as connection:
            time = now(connection)
            dead = sa.select(_job.c.job_id).where(_job.c.status == "running", _job.c.lease_until < time)
            waiting = sa.select(_job.c.job_id).where(
                _job.c.status == "pending", _job.c.announce_after <= time
            )
            return (
                list(connection.scalars(dead.order_by(_job.c.lease_until).limit(limit))),
                list(connection.scalars(waiting.order_by(_job.c.announce_after).limit(limit))),
            )

    def take_announcement(self, job_id: uuid.UUID) -> bool:
        """Moves a pending job's next announcement on, 10 s doubling to 10 min; True for one caller only."""
        with writing(self.engine) as connection:
            time = now(connection)
            due = (_job.c.job_id == job_id) & (_job.c.status == "pending") & (_job.c.announce_after <= time)
            count = connection.execute(sa.select(_job.c.announcements).where(due)).scalar_one_or_none()
            if count is None:
                return False
            pause = min(_FIRST_ANNOUNCEMENT * 2 ** min(count, 10), _LONGEST_ANNOUNCEMENT)
            moved = connection.execute(
                sa.update(_job)
                .where(due, _job.c.announcements == count)
                .values(announce_after=time + _micro(pause), announcements=count + 1)
            )
            return moved.rowcount == 1


def _fenced(connection: Connection, claim: Claim, changes: dict[str, Any]) -> None:
    """Updates the row of a running attempt, or raises LeaseLostError."""
    updated = connection.execute(
        sa.update(_job)
        .where(_job.c.job_id == claim.job_id, _job.c.status == "running", _job.c.attempt == claim.attempt)
        .values(changes)
    )
    if updated.rowcount != 1:
        raise LeaseLostError("Another worker owns this job now.")


def _claim_of(connection: Connection, job_id: uuid.UUID) -> Claim:
    row = connection.execute(sa.select(_job).where(_job.c.job_id == job_id)).one()
    last = connection.execute(
        sa.select(_chunk.c.seq, _chunk.c.first_frame, _chunk.c.frame_count)
        .where(_chunk.c.job_id == job_id)
        .order_by(_chunk.c.seq.desc())
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
        start_after=last and last.first_frame + (last.frame_count - 1) * row.frame_stride,
        next_seq=last.seq + 1 if last else 0,
    )


def _micro(duration: float) -> int:
    return round(duration * _SECOND)


def _tenths(progress: float) -> float:
    """Progress in tenths, rounded down and short of the 1.0 that only completion sets."""
    return min(int(progress * 10), 9) / 10
