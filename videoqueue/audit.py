"""The audit log: one JSON line for each job that is accepted or deleted, each request that a limit refuses,
and each change of keys and owners.

The lines are written where the change is made, after its commit, so that every way to it is covered. They go
to the logger `videoqueue.audit`, which has its own handler (`videoqueue.log_setup`): neither
VIDEOQUEUE_LOG_LEVEL nor VIDEOQUEUE_LOG_FORMAT applies to it.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from videoqueue import logs

Event: TypeAlias = Literal[
    "job_accepted",
    "job_deleted",
    "request_refused",
    "key_created",
    "key_revoked",
    "key_rotated",
    "jobs_adopted",
    "limits_set",
    "session_created",
]

logger = logging.getLogger(logs.AUDIT)


@dataclass(frozen=True)
class Origin:
    """Who makes the request that this thread serves; everything is None outside of a request."""

    #: The client's address; behind trusted proxies the one that they name.
    address: str | None = None
    #: The public part of the key that was sent.
    key_id: str | None = None
    #: The owner that the key or the proxy names.
    owner: str | None = None


_NOBODY: Final = Origin()
_origin: ContextVar[Origin] = ContextVar("audit_origin", default=_NOBODY)


def set_origin(origin: Origin = _NOBODY) -> None:
    """Sets who makes the request that this thread serves; without an argument it serves none."""
    _origin.set(origin)


def origin() -> Origin:
    """Returns who makes the request that this thread serves."""
    return _origin.get()


def record(event: Event, **fields: object) -> None:
    """Writes one line. It has the id of the request, and the key and the address that it came from.

    Args:
        event: what happened.
        fields: what it happened to, such as `job_id` and `owner`. They replace `key_id` and `owner` of the
            request.

    Example:
        After the commit that deletes a job::

            record("job_deleted", job_id=job_id, owner=owner)
    """
    by = _origin.get()
    line = {
        "event": event,
        "request_id": logs.request_id() or None,
        "owner": by.owner,
        "key_id": by.key_id,
        "address": by.address,
    }
    logger.info("Audit.", extra=line | fields)
