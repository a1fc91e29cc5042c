"""The claim, with which a worker takes a pending job: pending -> running.

A message is a permit to run one job. Which one is decided within the transaction of the claim, see `turns`.
The transition itself is one conditional update that checks its row count.
"""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from videoqueue.errors import DatabaseUnavailableError
from videoqueue.jobs.changes import claim_of, last_chunk, select_job, start_of_attempt
from videoqueue.jobs.counters import raise_counters
from videoqueue.jobs.database import now, reading, writing
from videoqueue.jobs.measures import claimed
from videoqueue.jobs.tables import JOB, JOB_COLUMNS, owned_by
from videoqueue.jobs.turns import Turn, claimable_of, next_turn, take_turn
from videoqueue.jobs.types import ALL_OWNERS, Claim, Job, LeasePolicy, OwnerLimits, OwnerScope


class Claims:
    """Leases pending jobs to workers; the first part of `JobStore`."""

    def __init__(
        self,
        engine: Engine,
        policy: LeasePolicy,
        limits: OwnerLimits | None = None,
        *,
        webhooks: bool = False,
    ) -> None:
        """Connects to nothing yet.

        Args:
            engine: the database; see `videoqueue.jobs.database.prepare`.
            policy: durations and limits of a job.
            limits: the limits of each owner that has no exceptions; None for no limits.
            webhooks: whether a webhook event is stored for each job that ends.
        """
        self.engine = engine
        self.policy = policy
        self.limits = limits or OwnerLimits()
        self.webhooks = webhooks

    def get(self, job_id: uuid.UUID, owner: OwnerScope) -> Job | None:
        """Returns the job, or None if the owner has no job with this id."""
        with reading(self.engine) as connection:
            return select_job(connection, (JOB.c.job_id == job_id) & owned_by(owner))

    def claim(self, job_id: uuid.UUID, worker: str) -> Claim | None:
        """Moves a pending job to running and leases it to a worker.

        The job is one of the owner whose turn it is: the named one if it is theirs and can be claimed now,
        else their oldest.

        Args:
            job_id: the job that the message names.
            worker: the name of the worker, as host:pid.

        Returns:
            The claim, or None if no job can be claimed now.
        """
        while True:
            claim, turn, time = None, None, 0
            try:
                with writing(self.engine) as connection:
                    time = now(connection)
                    turn = next_turn(connection, self.limits, time)
                    if turn is not None:
                        claim = self._claim(connection, turn, job_id, worker, time)
            except DatabaseUnavailableError:
                if claim is None or not self._holds(claim, worker, time):
                    raise
            if claim is not None or turn is None:
                return claim

    def _claim(
        self, connection: Connection, turn: Turn, job_id: uuid.UUID, worker: str, time: int
    ) -> Claim | None:
        """Claims a job of the owner. Returns None, and changes nothing, if another worker was faster."""
        if not take_turn(connection, turn, time):
            return None
        row = connection.execute(
            sa.update(JOB)
            .where(JOB.c.job_id == claimable_of(turn.owner, job_id, time))
            .where(JOB.c.status == "pending", JOB.c.run_after <= time)
            .values(start_of_attempt(self.policy, worker, time))
            .returning(*JOB_COLUMNS)
        ).one_or_none()
        if row is None:
            connection.rollback()
            return None
        job = Job(**row._mapping)
        claim = claim_of(job, last_chunk(connection, job.job_id), turn.max_running)
        raise_counters(connection, job.job_id, claimed(job))
        return claim

    def _holds(self, claim: Claim, worker: str, claimed_at: int) -> bool:
        job = self.get(claim.job_id, ALL_OWNERS)
        if job is None or job.status != "running":
            return False
        return (job.attempt, job.worker, job.claimed_at) == (claim.attempt, worker, claimed_at)
