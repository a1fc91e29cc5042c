"""Keeps a running job ours: renews its lease from a thread of the idle worker process."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType

from videoqueue.errors import DatabaseUnavailableError, LeaseLostError
from videoqueue.jobs.store import Claim, JobStore
from videoqueue.settings import Settings

logger = logging.getLogger(__name__)


class Lease:
    """A context in which the lease is renewed; `check` tells whether it still holds."""

    def __init__(self, store: JobStore, claim: Claim, settings: Settings) -> None:
        self._store = store
        self._claim = claim
        self._interval = settings.renew_seconds
        self._duration = settings.lease_seconds
        self._ended = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"lease-{claim.job_id}", daemon=True)

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def check(self) -> None:
        """Raises LeaseLostError once the lease is known to be lost, or could not be renewed in time."""
        if self._lost.is_set():
            raise LeaseLostError("The lease of this job could not be renewed in time.")

    def _renew(self) -> None:
        renewed = time.monotonic()
        while not self._ended.wait(self._interval):
            asked = time.monotonic()
            try:
                self._store.renew(self._claim)
                renewed = asked
            except LeaseLostError:
                self._lost.set()
                return
            except DatabaseUnavailableError:
                logger.warning("Lease not renewed, the database is away. job_id=%s", self._claim.job_id)
            if time.monotonic() - renewed > self._duration:
                self._lost.set()
                return
