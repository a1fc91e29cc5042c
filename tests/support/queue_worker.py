"""A worker of the queue in this process: Dramatiq's own, with a function in place of the service's work."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from videoqueue.worker import actors


@contextmanager
def working(
    broker: RedisBroker, run: Callable[[uuid.UUID], float | None], max_retries: int = 0
) -> Iterator[None]:
    """A Dramatiq worker over this broker."""
    actors.declare(broker, run, max_retries)
    worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=1)
    worker.start()
    try:
        yield
    finally:
        worker.stop()
