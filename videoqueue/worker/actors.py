"""The Dramatiq actor, which calls `run_job`."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from videoqueue.broker import ACTOR, QUEUE
from videoqueue.failpoints import failpoint


def declare(broker: RedisBroker, run: Callable[[uuid.UUID], float | None], max_retries: int) -> None:
    """Registers the actor `process_video` on the broker.

    Args:
        run: processes the job; returns the seconds until the message is to be retried, or None.
    """

    @dramatiq.actor(broker=broker, actor_name=ACTOR, queue_name=QUEUE, max_retries=max_retries)
    def process_video(job_id: str) -> None:
        delay = run(uuid.UUID(job_id))
        failpoint("worker.before_ack")
        if delay is not None:
            raise dramatiq.Retry("The job waits for another try.", delay=round(delay * 1000))
