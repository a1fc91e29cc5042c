"""Finds what was forgotten: pending jobs nobody was told about, running jobs whose worker is gone.

One thread in every worker process. Doubled sweeps do no harm: each change is conditional in the store.
"""

from __future__ import annotations

import logging
import random
import threading

from dramatiq.brokers.redis import RedisBroker

from videoqueue.broker import announce
from videoqueue.errors import DatabaseUnavailableError, QueueUnavailableError
from videoqueue.jobs.store import JobStore

logger = logging.getLogger(__name__)

#: Rows of each kind looked at in one pass.
_BATCH = 200


class Sweeper:
    def __init__(self, store: JobStore, broker: RedisBroker, interval: float) -> None:
        self._store = store
        self._broker = broker
        self._interval = interval
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after the pass it is in."""
        self._stopping.set()
        self._thread.join()

    def sweep(self) -> int:
        """One pass; answers how many jobs were announced.

        Raises:
            DatabaseUnavailableError, QueueUnavailableError: the rest waits for the next pass.
        """
        dead, _ = self._store.due(_BATCH)
        for job_id in dead:
            if self._store.expire(job_id):
                logger.warning("Lease expired, its worker is gone. job_id=%s", job_id)
        announced = 0
        _, waiting = self._store.due(_BATCH)
        for job_id in waiting:
            if self._stopping.is_set():
                break
            if self._store.take_announcement(job_id):
                announce(self._broker, job_id)
                announced += 1
        return announced

    def _run(self) -> None:
        # Jitter keeps the sweepers of many processes from marching in step.
        while not self._stopping.wait(self._interval * random.uniform(0.8, 1.2)):  # noqa: S311
            try:
                announced = self.sweep()
            except (DatabaseUnavailableError, QueueUnavailableError) as error:
                logger.warning("Sweep cut short: %s", error)
            except Exception:  # a bug in one pass must not end the thread that rescues jobs
                logger.exception("A sweep met a bug.")
            else:
                if announced:
                    logger.info("Announced forgotten jobs. jobs=%d", announced)
