"""Finds what was forgotten: pending jobs nobody was told about, running jobs whose worker is gone.

One thread in every worker process. Doubled sweeps do no harm: each change is conditional in the store.
"""

from __future__ import annotations

import logging
import random
import uuid

from dramatiq.brokers.redis import RedisBroker

from videoqueue.broker import announce, queued
from videoqueue.failpoints import failpoint
from videoqueue.jobs.store import JobStore
from videoqueue.jobs.workers import Pauses, Upkeep
from videoqueue.maintenance.periodic import Periodic
from videoqueue.settings import Settings

logger = logging.getLogger(__name__)


class Sweeper:
    """`worker` is the name of this process, under which its signs of life are written."""

    def __init__(self, store: JobStore, broker: RedisBroker, settings: Settings, worker: str) -> None:
        self._store = store
        self._broker = broker
        self._settings = settings
        self._worker = worker
        pauses = Pauses(first=settings.announce_seconds, longest=settings.announce_max_seconds)
        self._upkeep = Upkeep(store.engine, pauses)
        self._periodic = Periodic(
            "sweeper", self._pass, pause=settings.sweep_seconds, last_words=self._say_goodbye
        )
        self._started = False

    def start(self) -> None:
        self._periodic.start()

    def stop(self) -> None:
        self._periodic.stop()

    def sweep(self) -> int:
        """One pass; answers how many jobs were announced.

        Raises:
            DatabaseUnavailableError, QueueUnavailableError: the rest waits for the next pass.
        """
        self._upkeep.heartbeat(self._worker, self._settings.worker_threads, starting=not self._started)
        self._started = True
        failpoint("sweeper.heartbeat")
        return self._announce(self._expire())

    def _expire(self) -> list[uuid.UUID]:
        taken_back = []
        for dead in self._upkeep.expired_leases(self._settings.sweep_rows):
            failpoint("sweeper.before_expire")
            if self._store.expire(dead.job_id):
                failpoint("sweeper.expired")
                logger.warning(
                    "Lease expired, its worker is gone. job_id=%s attempt=%d worker=%s seconds=%.1f",
                    dead.job_id,
                    dead.attempt,
                    dead.worker,
                    dead.seconds,
                )
                taken_back.append(dead.job_id)
        return taken_back

    def _announce(self, taken_back: list[uuid.UUID]) -> int:
        # While as many messages wait as there are jobs to claim, no worker is idle for want of one; more
        # would only pile up when jobs wait for hours.
        # Asking first also tells that the queue is there, before any job's announcement is moved on.
        waiting = queued(self._broker)
        jobs = self._upkeep.take_announcements(len(taken_back), taken_back) if taken_back else []
        missing = self._upkeep.claimable() - waiting - len(jobs)
        # Every live worker sees the same gap at about the same time: together they fill it once.
        workers = self._upkeep.workers(self._settings.worker_silence_seconds)
        share = -(-missing // max(1, workers))
        room = min(share, self._settings.sweep_rows - len(jobs))
        if room > 0:
            jobs += self._upkeep.take_announcements(room)
        for job_id in jobs:
            failpoint("sweeper.announcement_taken")
            announce(self._broker, job_id)
        return len(jobs)

    def _pass(self) -> float:
        announced = self.sweep()
        if announced:
            logger.info("Announced forgotten jobs. jobs=%d", announced)
        # Jitter keeps the sweepers of many processes from marching in step.
        return self._settings.sweep_seconds * random.uniform(0.8, 1.2)  # noqa: S311

    def _say_goodbye(self) -> None:
        self._upkeep.forget(self._worker)
