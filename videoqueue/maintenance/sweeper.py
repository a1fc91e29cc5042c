"""The thread that rescues jobs: pending jobs whose message was lost, and running jobs whose worker is gone.

Every worker process has one. Several at the same time do no harm, because each change is conditional in the
store.
"""

from __future__ import annotations

import logging
import random
import uuid

from dramatiq.brokers.redis import RedisBroker

from videoqueue.broker import announce, queued
from videoqueue.failpoints import failpoint
from videoqueue.jobs import workers
from videoqueue.jobs.queries import JobQueries
from videoqueue.jobs.store import JobStore
from videoqueue.maintenance.periodic import Periodic
from videoqueue.settings import Settings

logger = logging.getLogger(__name__)


class Sweeper:
    """Announces jobs again, expires leases, and writes the heartbeat of its process."""

    def __init__(self, store: JobStore, broker: RedisBroker, settings: Settings, worker: str) -> None:
        """Connects to nothing yet.

        Args:
            store: the jobs.
            broker: the queue.
            settings: the settings of the worker.
            worker: the name of this process, as host:pid.
        """
        self._store = store
        self._queries = JobQueries(store.engine)
        self._broker = broker
        self._settings = settings
        self._worker = worker
        self._periodic = Periodic("sweeper", self._pass, pause=settings.sweep_seconds, on_stop=self._sign_off)
        self._started = False

    def start(self) -> None:
        """Starts the thread."""
        self._periodic.start()

    def stop(self) -> None:
        """Ends the thread after its current pass, and removes the heartbeat."""
        self._periodic.stop()

    def sweep(self) -> int:
        """Runs one pass.

        Returns:
            The number of announced jobs.

        Raises:
            DatabaseUnavailableError, QueueUnavailableError: the remaining jobs are left to the next pass.
        """
        threads = self._settings.worker_threads
        workers.heartbeat(self._store.engine, self._worker, threads, starting=not self._started)
        self._started = True
        failpoint("sweeper.heartbeat")
        return self._announce(self._expire())

    def _expire(self) -> list[uuid.UUID]:
        expired = []
        for lease in self._queries.expired_leases(self._settings.sweep_rows):
            failpoint("sweeper.before_expire")
            if self._store.expire(lease.job_id):
                failpoint("sweeper.expired")
                logger.warning(
                    "A lease expired: its worker is gone.",
                    extra={
                        "job_id": lease.job_id,
                        "attempt": lease.attempt,
                        "worker": lease.worker,
                        "seconds": lease.seconds,
                    },
                )
                expired.append(lease.job_id)
        return expired

    def _announce(self, expired: list[uuid.UUID]) -> int:
        # If the queue holds a message for each claimable job, no worker is idle for lack of one. More
        # messages would only accumulate while jobs wait for hours. The queue is asked first: if it is away,
        # no job's announcement is postponed.
        waiting = queued(self._broker)
        jobs = self._store.take_announcements(len(expired), expired) if expired else []
        missing = self._queries.claimable(self._store.limits) - waiting - len(jobs)
        # All live workers see the same gap at about the same time, so each fills its share.
        alive = workers.count_alive(self._store.engine, self._settings.worker_silence_seconds)
        share = -(-missing // max(1, alive))
        room = min(share, self._settings.sweep_rows - len(jobs))
        if room > 0:
            jobs += self._store.take_announcements(room)
        for job_id in jobs:
            failpoint("sweeper.announcement_taken")
            announce(self._broker, job_id)
        return len(jobs)

    def _pass(self) -> float:
        announced = self.sweep()
        if announced:
            logger.info("Announced jobs again.", extra={"jobs": announced})
        # The jitter keeps the sweepers of several processes from running at the same time.
        return self._settings.sweep_seconds * random.uniform(0.8, 1.2)  # noqa: S311

    def _sign_off(self) -> None:
        workers.forget(self._store.engine, self._worker)
