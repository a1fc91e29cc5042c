"""Checks of backends that may hang: each check runs in a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from videoqueue.broker import queued
from videoqueue.causes import cause_fields, cause_of
from videoqueue.errors import (
    DatabaseUnavailableError,
    QueueUnavailableError,
    StorageFullError,
    StorageUnavailableError,
)
from videoqueue.jobs.deadline import set_deadline
from videoqueue.jobs.types import Counts
from videoqueue.services import Services

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Probe(Generic[T]):
    """Runs a check in a thread. Callers that come while it runs share its result, so threads do not pile up.

    The reason of a failure is logged when it changes, not each time, because probes run every few seconds.

    Args:
        name: the name of the probe in the log, and of its thread.
        check: the check; its error is logged and raised to every caller.
    """

    def __init__(self, name: str, check: Callable[[], T]) -> None:
        self._name = name
        self._check = check
        self._lock = threading.Lock()
        self._running: Future[T] | None = None
        self._kind: tuple[str, str] | None = None

    def ask(self) -> Future[T]:
        """Starts the check unless it is running. Returns its future result; wait for it with a timeout."""
        with self._lock:
            if self._running is None or self._running.done():
                self._running = Future()
                # A daemon thread: a backend that hangs must not keep the process from ending.
                threading.Thread(
                    target=self._run, args=(self._running,), name=self._name, daemon=True
                ).start()
            return self._running

    def _run(self, future: Future[T]) -> None:
        try:
            result = self._check()
        except Exception as error:  # noqa: BLE001 - the future raises it to every caller
            self._note(error)
            future.set_exception(error)
        else:
            self._note(None)
            future.set_result(result)

    def _note(self, error: Exception | None) -> None:
        # The rest of the cause can differ each time.
        kind = None if error is None else (str(error), cause_of(error).partition(":")[0])
        if kind == self._kind:
            return
        self._kind = kind
        if error is None:
            logger.info("A dependency can be used again.", extra={"probe": self._name})
        else:
            logger.warning("A dependency cannot be used.", extra={"probe": self._name, **cause_fields(error)})


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The result of a readiness check.

    Attributes:
        unavailable: the backends without which no job can be accepted: "database", "storage".
        degraded: reasons why accepted jobs may have to wait.
        counts: the pending jobs and the live workers; None if the database is unavailable.
    """

    unavailable: list[str]
    degraded: list[str]
    counts: Counts | None


class ReadinessCheck:
    """Checks database, storage and queue at the same time, for at most VIDEOQUEUE_READY_SECONDS."""

    def __init__(self, services: Services) -> None:
        silence = services.settings.worker_silence_seconds
        self.seconds = services.settings.ready_seconds

        def counts() -> Counts:
            set_deadline(self.seconds)  # without one this thread would wait long after the database is back
            return services.queries.counts(silence)

        def storage() -> None:
            services.storage.check()
            services.reserve.require_usual_room()

        self._database = Probe("readyz-database", counts)
        self._storage = Probe("readyz-storage", storage)
        self._queue = Probe("readyz-queue", lambda: queued(services.broker))

    def run(self) -> Findings:
        """Runs the checks. Returns what they found; a backend that did not respond is unavailable."""
        deadline = time.monotonic() + self.seconds
        database, storage, queue = self._database.ask(), self._storage.ask(), self._queue.ask()
        counts: Counts | None = None
        unavailable, degraded = [], []
        try:
            counts = _result(database, deadline)
        except (DatabaseUnavailableError, TimeoutError):
            unavailable.append("database")
        try:
            _result(storage, deadline)
        except StorageFullError:
            degraded.append("storage_full")
        except (StorageUnavailableError, TimeoutError):
            unavailable.append("storage")
        try:
            _result(queue, deadline)
        except (QueueUnavailableError, TimeoutError):
            degraded.append("queue_unavailable")
        if counts is not None and counts.workers == 0:
            degraded.append("no_live_worker")
        return Findings(unavailable=unavailable, degraded=degraded, counts=counts)


def _result(future: Future[T], deadline: float) -> T:
    return future.result(max(0.0, deadline - time.monotonic()))
