r"""The attempts of workers at a job. Each transition is one conditional update that checks its row count.

    pending --claim--> running --complete--> completed
       ^                  |  \---fail------> failed
       +-- release/expire-+

`attempt` is the fencing token: a worker's write takes effect only while the job is running with the attempt
that the worker claimed. Terminal states never change. Durations are seconds, times are microseconds since
1970.

A connection lost at COMMIT leaves the outcome open. Where a decision depends on it, the row is read again:
its attempt shows which write took effect.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from videoqueue.errors import DatabaseUnavailableError, ErrorCode, LeaseLostError, shortened
from videoqueue.jobs.changes import (
    Changes,
    end_of_attempt,
    lost,
    reset_setbacks,
    set_back,
    start_over,
    tenths,
    update_fenced,
)
from videoqueue.jobs.chunk_encoding import JSON_FORM, ChunkForm
from videoqueue.jobs.claims import Claims
from videoqueue.jobs.database import microseconds, now, reading, writing
from videoqueue.jobs.endings import end_attempt
from videoqueue.jobs.tables import CHUNK, JOB
from videoqueue.jobs.types import ALL_OWNERS, Claim, Setback, Status
from videoqueue.pipeline.decode.video_info import VideoInfo

_COMPLETED: Changes = {"status": "completed", "progress": 1.0, "error_message": None}


class Attempts(Claims):
    """Moves running jobs from state to state for the workers that claimed them; a part of `JobStore`."""

    def renew(self, claim: Claim) -> None:
        """Extends the lease of a running attempt, even if it has ended but no sweeper has noticed.

        Raises:
            LeaseLostError: the job no longer belongs to this attempt.
        """
        with writing(self.engine) as connection:
            lease = now(connection) + microseconds(self.policy.lease_seconds)
            update_fenced(connection, claim, {"lease_until": lease})

    def begin(self, claim: Claim, version: str) -> Claim:
        """Records the version of the pipeline that makes the attempt's results.

        Chunks of another version are removed, because one result never mixes versions.

        Args:
            claim: the running attempt.
            version: the version of the pipeline.

        Returns:
            The claim to continue with. It starts at the first frame if chunks of another version were
            removed.

        Raises:
            LeaseLostError: the job no longer belongs to this attempt; nothing was changed.
        """
        if claim.pipeline_version == version:
            return claim
        with writing(self.engine) as connection:
            changes: Changes = {"pipeline_version": version, "progress": 0.0, "updated_at": now(connection)}
            update_fenced(connection, claim, changes)
            return start_over(connection, claim, version)

    def checkpoint(
        self,
        claim: Claim,
        seq: int,
        payload: bytes,
        frames: list[int],
        progress: float,
        form: ChunkForm = JSON_FORM,
        *,
        replaces: bool = False,
    ) -> None:
        """Commits a chunk of results together with the progress and a renewed lease.

        Args:
            claim: the running attempt.
            seq: the number of the chunk: `claim.next_seq` for the first one, then one more each time.
            payload: the items, encoded as `form` says.
            frames: the frame index of each item, ascending; at least one.
            progress: the share of the video that is done, from 0 to 1.
            form: how the payload is encoded; by default as `videoqueue.jobs.results.encode` does it.
            replaces: whether this attempt has committed the chunk before, with the first of these items.

        Raises:
            LeaseLostError: the job no longer belongs to this attempt; nothing was changed.
        """
        try:
            with writing(self.engine) as connection:
                time = now(connection)
                changes: Changes = {
                    "lease_until": time + microseconds(self.policy.lease_seconds),
                    "progress": tenths(progress),
                    "updated_at": time,
                }
                # The update comes first and locks the row: a worker that lost the job inserts nothing.
                update_fenced(connection, claim, changes | reset_setbacks(claim, frames[-1]))
                if replaces:
                    same = (CHUNK.c.job_id == claim.job_id) & (CHUNK.c.seq == seq)
                    connection.execute(sa.delete(CHUNK).where(same))
                connection.execute(
                    sa.insert(CHUNK).values(
                        job_id=claim.job_id,
                        seq=seq,
                        first_frame=frames[0],
                        last_index=frames[-1],
                        frame_count=len(frames),
                        payload=payload,
                        **vars(form),
                    )
                )
        except DatabaseUnavailableError:
            if not self._has_chunk(claim, seq, frames[-1]):
                raise

    def _has_chunk(self, claim: Claim, seq: int, last_index: int) -> bool:
        query = (
            sa.select(CHUNK.c.seq)
            .join(JOB, JOB.c.job_id == CHUNK.c.job_id)
            .where(CHUNK.c.job_id == claim.job_id, CHUNK.c.seq == seq, CHUNK.c.last_index == last_index)
            .where(JOB.c.status == "running", JOB.c.attempt == claim.attempt)
        )
        with reading(self.engine) as connection:
            return connection.execute(query).one_or_none() is not None

    def complete(
        self, claim: Claim, etag: str, video: VideoInfo | None = None, result_bytes: int | None = None
    ) -> None:
        """Moves a running job to completed. Calling it again has no effect.

        Args:
            claim: the running attempt.
            etag: SHA-256 of the `results` array, from `ResultReader.digest`.
            video: properties of the video.
            result_bytes: the bytes of that array.

        Raises:
            LeaseLostError: the job no longer belongs to this attempt.
        """
        try:
            ended: Changes = {"results_etag": etag, "result_bytes": result_bytes}
            self._finish(claim, _COMPLETED | ended, video)
        except (DatabaseUnavailableError, LeaseLostError):
            if self._status_after(claim) != "completed":
                raise

    def fail(
        self, claim: Claim, reason: str, video: VideoInfo | None = None, code: ErrorCode | None = None
    ) -> None:
        """Moves a running job to failed, without another attempt.

        Args:
            claim: the running attempt.
            reason: the error for the user.
            video: properties of the video, as far as they are known.
            code: the error for programs.

        Raises:
            LeaseLostError: the job no longer belongs to this attempt.
        """
        failed: Changes = {"status": "failed", "error_message": shortened(reason), "error_code": code}
        try:
            self._finish(claim, failed, video)
        except DatabaseUnavailableError:
            if self._status_after(claim) != "failed":
                raise

    def _finish(self, claim: Claim, changes: Changes, video: VideoInfo | None) -> None:
        with writing(self.engine) as connection:
            time = now(connection)
            ended: Changes = {"lease_until": None, "finished_at": time, "updated_at": time}
            ended |= end_of_attempt(time) | vars(video or VideoInfo())
            self._end(connection, claim, changes | ended, time)

    def _end(
        self,
        connection: Connection,
        claim: Claim,
        changes: Changes,
        time: int,
        setback: Setback | None = None,
    ) -> Status:
        """Ends the attempt; see `end_attempt`. Raises LeaseLostError if the job does not belong to it."""
        own = JOB.c.attempt == claim.attempt
        status = end_attempt(
            connection, claim.job_id, own, changes, self.limits, time, setback, webhooks=self.webhooks
        )
        if status is None:
            raise lost()
        return status

    def _status_after(self, claim: Claim) -> Status | None:
        """Returns the state of the job, or None when another attempt has it or it is gone."""
        job = self.get(claim.job_id, ALL_OWNERS)
        return job.status if job is not None and job.attempt == claim.attempt else None

    def release(
        self,
        claim: Claim,
        setback: Setback,
        reason: str | None,
        delay: float = 0.0,
        code: ErrorCode | None = None,
    ) -> bool:
        """Moves a running job back to pending, or to failed at the limit of setbacks. Its chunks stay.

        Args:
            claim: the running attempt.
            setback: what happened.
            reason: the error for the user.
            delay: seconds before the job can be claimed again.
            code: the error for programs if the job fails; that of the limit by default.

        Returns:
            True if the job waits for another attempt, False if it has failed.

        Raises:
            LeaseLostError: the job no longer belongs to this attempt.
        """
        status: Status | None = None
        try:
            with writing(self.engine) as connection:
                time = now(connection)
                changes = set_back(self.policy, setback, reason, time, delay, code) | end_of_attempt(time)
                status = self._end(connection, claim, changes, time, setback)
        except DatabaseUnavailableError:
            status = self._status_after(claim)
            if status not in ("pending", "failed"):
                raise
        return status == "pending"
