"""All writes of jobs and result chunks, except their deletion.

Jobs are created, expired and announced here. The transitions of an attempt are in `attempts`, the deletion is
in `deletion`.
"""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from videoqueue import audit
from videoqueue.errors import DatabaseUnavailableError, IdempotencyKeyReusedError
from videoqueue.jobs.attempts import Attempts
from videoqueue.jobs.changes import earlier_job, end_of_attempt, new_row, select_job, set_back
from videoqueue.jobs.counters import raise_counters
from videoqueue.jobs.database import microseconds, now, reading, seconds_since_failure, writing
from videoqueue.jobs.endings import end_attempt
from videoqueue.jobs.measures import submitted
from videoqueue.jobs.quotas import lock_limits, require_quota
from videoqueue.jobs.tables import JOB, owned_by
from videoqueue.jobs.turns import at_running_limit
from videoqueue.jobs.types import ALL_OWNERS, Claim, Job, LeasePolicy, NewJob, OwnerScope, Setback

__all__ = ["Claim", "Job", "JobStore", "LeasePolicy", "NewJob", "Setback"]


class JobStore(Attempts):
    """Creates jobs, and moves them from state to state.

    Each method is one short transaction. All raise DatabaseUnavailableError when the database cannot be used.

    Example:
        A whole life of a job::

            job_id, _ = store.create(new)
            claim = store.claim(job_id, "host:1")
            claim = store.begin(claim, version)
            store.checkpoint(claim, 0, encode(items), [0, 1, 2], progress=0.5)
            store.complete(claim, results.etag(job_id, ALL_OWNERS))
    """

    def create(self, new: NewJob) -> tuple[uuid.UUID, bool]:
        """Inserts a pending job.

        Example:
            A repeated submission returns the first job::

                store.create(new)  # (UUID("7c3e..."), True)
                store.create(new)  # (UUID("7c3e..."), False), if `new` has an idempotency key

        Returns:
            The id of the job, and whether it is new. It is not new if a job with the same idempotency key
            exists.

        Raises:
            IdempotencyKeyReusedError: that job has another video or other parameters.
            QuotaExceededError: a limit of the owner is reached, and the job would be new.
        """
        job_id = uuid.uuid4()
        try:
            with writing(self.engine) as connection:
                limits = lock_limits(connection, new.owner, self.limits)
                if (earlier := earlier_job(connection, new)) is not None:
                    return earlier, False
                require_quota(connection, new.owner, limits, new.input_bytes)
                self._insert(connection, job_id, new)
        except DatabaseUnavailableError as error:
            if not error.may_have_committed or not self._exists(job_id):
                raise
        except sa.exc.IntegrityError:
            earlier = self._earlier(new)
            if earlier is None:  # another constraint, or the earlier job was removed in the meantime
                raise
            return earlier, False
        audit.record("job_accepted", job_id=job_id, owner=new.owner)
        return job_id, True

    def retry(self, job_id: uuid.UUID, owner: OwnerScope, key_id: str | None = None) -> uuid.UUID | None:
        """Creates a job from a failed one, like `retry_once` without an idempotency key; returns its id."""
        made = self.retry_once(job_id, owner, key_id, None)
        return None if made is None else made[0]

    def retry_once(
        self, job_id: uuid.UUID, owner: OwnerScope, key_id: str | None, idempotency_key: str | None
    ) -> tuple[uuid.UUID, bool] | None:
        """Creates a pending job from the video and the parameters of a failed one of the owner.

        The failed row stays locked until the new one is committed. A purge that removes it afterwards finds
        that the video is still needed.

        Args:
            job_id: the failed job.
            owner: whose job it is.
            key_id: the key that asks for the new job.
            idempotency_key: as in `create`; that of the owner of the failed job.

        Returns:
            The id of the new job, which has the same owner, and whether it is new, as in `create`. None if
            the owner has no failed job with this id.

        Raises:
            IdempotencyKeyReusedError: another submission had this idempotency key, or the failed job itself.
            QuotaExceededError: the owner has as many pending jobs as allowed. Operators, who act for all
                owners, are not limited.
        """
        again = uuid.uuid4()
        new = None
        try:
            with writing(self.engine) as connection:
                limits = None if owner is ALL_OWNERS else lock_limits(connection, owner, self.limits)
                new = _renewed(connection, job_id, owner, key_id, idempotency_key)
                if new is None:
                    return None
                if (earlier := earlier_job(connection, new)) is not None:
                    return _retried(earlier, job_id), False
                if limits is not None:
                    require_quota(connection, new.owner, limits, 0)
                self._insert(connection, again, new)
        except DatabaseUnavailableError as error:
            if new is None or not (error.may_have_committed and self._exists(again)):
                raise
        except sa.exc.IntegrityError:
            if new is None or (earlier := self._earlier(new)) is None:
                raise
            return earlier, False
        audit.record("job_accepted", job_id=again, owner=new.owner, retry_of=job_id)
        return again, True

    def _insert(self, connection: Connection, job_id: uuid.UUID, new: NewJob) -> None:
        row = new_row(job_id, new, now(connection), self.policy)
        connection.execute(sa.insert(JOB).values(row))
        raise_counters(connection, job_id, submitted(new.pipeline_id))

    def _earlier(self, new: NewJob) -> uuid.UUID | None:
        """Returns the job that has taken the idempotency key since it was looked up."""
        with reading(self.engine) as connection:
            return earlier_job(connection, new)

    def _exists(self, job_id: uuid.UUID) -> bool:
        try:
            return self.get(job_id, ALL_OWNERS) is not None
        except DatabaseUnavailableError:
            return False

    def expire(self, job_id: uuid.UUID) -> bool:
        """Takes a running job from a worker whose lease has ended; counts a crash.

        After an outage of the database every lease has ended, also those of workers that are about to renew
        them. A process whose database calls failed therefore waits for two renewals before it expires a
        lease.

        Returns:
            True if the job was taken from its worker.
        """
        if seconds_since_failure(self.engine) < 2 * self.policy.renew_seconds:
            return False
        with writing(self.engine) as connection:
            time = now(connection)
            reason = "The worker stopped while processing this video."
            changes = set_back(self.policy, "crashes", reason, time) | end_of_attempt(JOB.c.lease_until)
            over = JOB.c.lease_until < time
            status = end_attempt(
                connection, job_id, over, changes, self.limits, time, "expiry", webhooks=self.webhooks
            )
            return status is not None

    def take_announcements(
        self, limit: int, jobs: list[uuid.UUID] | None = None, owner: OwnerScope = ALL_OWNERS
    ) -> list[uuid.UUID]:
        """Takes pending jobs whose announcement is due; the caller announces them.

        Each is taken by one caller only, because its next announcement is postponed: by
        `LeasePolicy.announcement_pause`. Jobs of an owner at the limit of running jobs stay due.

        Args:
            limit: the maximum number of jobs.
            jobs: if given, no others are taken.
            owner: whose jobs are taken.

        Returns:
            The ids of the jobs, the longest overdue first.
        """
        with writing(self.engine) as connection:
            time = now(connection)
            due = (JOB.c.status == "pending") & (JOB.c.announce_after <= time) & owned_by(owner)
            due &= JOB.c.owner.not_in(at_running_limit(self.limits))
            if jobs is not None:
                due &= JOB.c.job_id.in_(jobs)
            query = sa.select(JOB.c.job_id, JOB.c.announcements).where(due).order_by(JOB.c.announce_after)
            # Rows that another sweeper has locked are skipped: it announces them.
            taken = connection.execute(query.limit(limit).with_for_update(skip_locked=True)).all()
            if taken:
                postpone = sa.update(JOB).where(JOB.c.job_id == sa.bindparam("id"))
                values = {"announce_after": sa.bindparam("next"), "announcements": JOB.c.announcements + 1}
                pauses = [microseconds(self.policy.announcement_pause(row.announcements)) for row in taken]
                connection.execute(
                    postpone.values(values),
                    [
                        {"id": row.job_id, "next": time + pause}
                        for row, pause in zip(taken, pauses, strict=True)
                    ],
                )
            return [row.job_id for row in taken]


def _renewed(
    connection: Connection,
    job_id: uuid.UUID,
    owner: OwnerScope,
    key_id: str | None,
    idempotency_key: str | None,
) -> NewJob | None:
    """Locks a failed job of the owner and returns what a retry submits; None if there is no such job."""
    wanted = (JOB.c.job_id == job_id) & (JOB.c.status == "failed") & owned_by(owner)
    failed = select_job(connection, wanted, lock=True)
    if failed is None:
        return None
    copied = {name: getattr(failed, name) for name in NewJob.__annotations__}
    return NewJob(**copied | {"idempotency_key": idempotency_key, "key_id": key_id})


def _retried(earlier: uuid.UUID, failed: uuid.UUID) -> uuid.UUID:
    if earlier == failed:
        raise IdempotencyKeyReusedError(
            "This Idempotency-Key is that of the failed job. Use a new key for its retry."
        )
    return earlier
