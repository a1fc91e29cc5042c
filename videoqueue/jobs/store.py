"""Every change of a job's state. Each is "from this state to that, only if still so", its row count checked.

    pending --claim--> running --complete--> completed
       ^                  |  \\---fail------> failed
       +-- release/expire-+

`attempt` is the fencing token: a worker's write counts only while the row is running with the attempt it
claimed. Terminal states never change. Durations are seconds; times in rows are microseconds (see `models`).

A connection lost at COMMIT leaves open whether the change counted. Where a decision hangs on it, the row is
read again: its attempt tells whose doing it is.
"""

from __future__ import annotations

import uuid
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from videoqueue.errors import DatabaseUnavailableError, LeaseLostError
from videoqueue.jobs.changes import (
    Changes,
    begun,
    claim_of,
    earlier,
    end_of_attempt,
    fenced,
    forgiven,
    new_row,
    set_back,
    shortened,
    tenths,
)
from videoqueue.jobs.database import microseconds, now, reading, seconds_since_failure, writing
from videoqueue.jobs.tables import CHUNK, JOB
from videoqueue.jobs.types import Claim, LeasePolicy, NewJob, Setback
from videoqueue.pipeline.decode.video_info import VideoInfo

__all__ = ["Claim", "JobStore", "LeasePolicy", "NewJob", "Setback"]


class JobStore:
    """Each method is a short transaction of its own; DatabaseUnavailableError when the database is away."""

    def __init__(self, engine: Engine, limits: LeasePolicy) -> None:
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
                connection.execute(sa.insert(JOB).values(new_row(job_id, new, now(connection), self.limits)))
        except DatabaseUnavailableError as error:
            # Only a COMMIT leaves open whether the job is there.
            if not error.may_have_committed or not self._is_there(job_id):
                raise
        except sa.exc.IntegrityError:
            if new.idempotency_key is None:
                raise
            with reading(self.engine) as connection:
                return earlier(connection, new), False
        return job_id, True

    def retry(self, job_id: uuid.UUID) -> uuid.UUID | None:
        """Makes a new pending job from a failed one's video and parameters; None unless that one has failed.

        The failed row stays locked until the new one is committed: whoever purges it afterwards finds that
        its video is still needed.
        """
        failed = sa.select(JOB).where(JOB.c.job_id == job_id, JOB.c.status == "failed").with_for_update()
        with writing(self.engine) as connection:
            row = connection.execute(failed).one_or_none()
            if row is None:
                return None
            copied = {name: getattr(row, name) for name in NewJob.__annotations__}
            again = uuid.uuid4()
            new = NewJob(**copied | {"idempotency_key": None})
            connection.execute(sa.insert(JOB).values(new_row(again, new, now(connection), self.limits)))
            return again

    def get(self, job_id: uuid.UUID) -> sa.Row[Any] | None:
        """The job's row, or None."""
        with reading(self.engine) as connection:
            return connection.execute(sa.select(JOB).where(JOB.c.job_id == job_id)).one_or_none()

    def _is_there(self, job_id: uuid.UUID) -> bool:
        try:
            return self.get(job_id) is not None
        except DatabaseUnavailableError:
            return False

    def claim(self, job_id: uuid.UUID, worker: str) -> Claim | None:
        """Takes a pending job whose time has come, for one lease. None when it is not to be had."""
        claim = None
        try:
            with writing(self.engine) as connection:
                time = now(connection)
                claimed = connection.execute(
                    sa.update(JOB)
                    .where(JOB.c.job_id == job_id, JOB.c.status == "pending", JOB.c.run_after <= time)
                    .values(
                        status="running",
                        attempt=JOB.c.attempt + 1,
                        worker=worker,
                        claimed_at=time,
                        lease_until=time + microseconds(self.limits.lease_seconds),
                        started_at=sa.func.coalesce(JOB.c.started_at, time),
                        updated_at=time,
                    )
                )
                if claimed.rowcount == 1:
                    claim = claim_of(connection, job_id)
        except DatabaseUnavailableError:
            if claim is None or not self._holds(claim, worker, time):
                raise
        return claim

    def _holds(self, claim: Claim, worker: str, claimed_at: int) -> bool:
        row = self.get(claim.job_id)
        if row is None or row.status != "running":
            return False
        found = (row.attempt, row.worker, row.claimed_at)
        return bool(found == (claim.attempt, worker, claimed_at))

    def renew(self, claim: Claim) -> None:
        """Extends the lease, also one that has ended unnoticed.

        Raises LeaseLostError when the job is no longer this attempt's.
        """
        with writing(self.engine) as connection:
            lease = now(connection) + microseconds(self.limits.lease_seconds)
            fenced(connection, claim, {"lease_until": lease})

    def begin(self, claim: Claim, version: str) -> Claim:
        """Notes that the attempt's results are those of the pipeline's `version`; removes those of another.

        Returns: the claim, which goes on where results of that version end: at the first frame, if there were
        others. Raises LeaseLostError, and then nothing is changed.
        """
        if claim.pipeline_version == version:
            return claim
        with writing(self.engine) as connection:
            time = now(connection)
            changes = {"pipeline_version": version, "progress": 0.0, "updated_at": time}
            fenced(connection, claim, changes)
            return begun(connection, claim, version)

    def checkpoint(self, claim: Claim, seq: int, payload: bytes, frames: list[int], progress: float) -> None:
        """Commits the results of `frames` as chunk `seq`, with progress and a renewed lease.

        Raises LeaseLostError, and then nothing is stored.
        """
        try:
            with writing(self.engine) as connection:
                time = now(connection)
                changes = {
                    "lease_until": time + microseconds(self.limits.lease_seconds),
                    "progress": tenths(progress),
                    "updated_at": time,
                } | forgiven(claim, frames[-1])
                # The fenced update comes first: it locks the row, so a worker that lost it inserts nothing.
                fenced(connection, claim, changes)
                connection.execute(
                    sa.insert(CHUNK).values(
                        job_id=claim.job_id,
                        seq=seq,
                        first_frame=frames[0],
                        last_index=frames[-1],
                        frame_count=len(frames),
                        payload=payload,
                    )
                )
        except DatabaseUnavailableError:
            if not self._has_chunk(claim, seq):
                raise

    def _has_chunk(self, claim: Claim, seq: int) -> bool:
        """Whether the attempt still runs and has committed its chunk `seq`."""
        query = (
            sa.select(CHUNK.c.seq)
            .join(JOB, JOB.c.job_id == CHUNK.c.job_id)
            .where(CHUNK.c.job_id == claim.job_id, CHUNK.c.seq == seq)
            .where(JOB.c.status == "running", JOB.c.attempt == claim.attempt)
        )
        with reading(self.engine) as connection:
            return connection.execute(query).one_or_none() is not None

    def complete(self, claim: Claim, etag: str, video: VideoInfo | None = None) -> None:
        """Ends the job with the results committed so far; again does no harm. Raises LeaseLostError.

        `video` is what was found out about the video; it is stored now, and never before the end.
        """
        changes = {"status": "completed", "progress": 1.0, "results_etag": etag, "error_message": None}
        try:
            self._finish(claim, changes, video)
        except (DatabaseUnavailableError, LeaseLostError):
            if self._status_of_attempt(claim) != "completed":
                raise

    def fail(self, claim: Claim, reason: str, video: VideoInfo | None = None) -> None:
        """Ends the job for good. `reason` is for the user, `video` as above. Raises LeaseLostError."""
        try:
            self._finish(claim, {"status": "failed", "error_message": shortened(reason)}, video)
        except DatabaseUnavailableError:
            if self._status_of_attempt(claim) != "failed":
                raise

    def _finish(self, claim: Claim, changes: Changes, video: VideoInfo | None) -> None:
        with writing(self.engine) as connection:
            time = now(connection)
            ended = {"lease_until": None, "finished_at": time, "updated_at": time} | end_of_attempt(time)
            fenced(connection, claim, changes | ended | vars(video or VideoInfo()))

    def _status_of_attempt(self, claim: Claim) -> str | None:
        """The job's status as this attempt left it; None when a later attempt has the job, or nobody."""
        row = self.get(claim.job_id)
        return row.status if row is not None and row.attempt == claim.attempt else None

    def release(self, claim: Claim, setback: Setback, reason: str | None, delay: float = 0.0) -> bool:
        """Gives a running job back, to be claimed again after `delay` seconds; chunks stay.

        Answers True when it waits for another try, False when this setback was one too many and it failed.
        Raises LeaseLostError.
        """
        status: str | None = None
        try:
            with writing(self.engine) as connection:
                time = now(connection)
                changes = set_back(self.limits, setback, reason, time, delay) | end_of_attempt(time)
                fenced(connection, claim, changes)
                query = sa.select(JOB.c.status).where(JOB.c.job_id == claim.job_id)
                status = connection.execute(query).scalar_one()
        except DatabaseUnavailableError:
            status = self._status_of_attempt(claim)
            if status not in ("pending", "failed"):
                raise
        return status == "pending"

    def expire(self, job_id: uuid.UUID) -> bool:
        """Takes a running job from a worker whose lease has ended. False when there was nothing to expire.

        After an outage every lease looks dead, also those of workers that are about to renew: a process that
        saw the database fail expires nothing until they had two chances.
        """
        if seconds_since_failure(self.engine) < 2 * self.limits.renew_seconds:
            return False
        with writing(self.engine) as connection:
            time = now(connection)
            reason = "The worker stopped while processing this video."
            changes = set_back(self.limits, "crashes", reason, time) | end_of_attempt(JOB.c.lease_until)
            dead = connection.execute(
                sa.update(JOB)
                .where(JOB.c.job_id == job_id, JOB.c.status == "running", JOB.c.lease_until < time)
                .values(changes)
            )
            return dead.rowcount == 1
