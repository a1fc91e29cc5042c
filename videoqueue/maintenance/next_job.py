"""Announces the job that may start because another one of the same owner has ended."""

from __future__ import annotations

import logging

from dramatiq.brokers.redis import RedisBroker

from videoqueue.broker import announce, queued
from videoqueue.causes import cause_fields
from videoqueue.errors import TransientError
from videoqueue.jobs.store import JobStore

logger = logging.getLogger(__name__)


def announce_next(store: JobStore, broker: RedisBroker, owner: str) -> None:
    """Announces a job of an owner with a limit of running jobs, after one of their jobs has ended.

    The transaction that ended it has made the next one due. If the queue or the database is away, that one
    stays due, and the next pass of a sweeper announces it.
    """
    try:
        queued(broker)  # a queue that is away must not postpone the announcement
        for job_id in store.take_announcements(1, owner=owner):
            announce(broker, job_id)
    except TransientError as error:
        logger.warning(
            "The owner's next job was not announced; a sweeper does so.", extra=cause_fields(error)
        )
