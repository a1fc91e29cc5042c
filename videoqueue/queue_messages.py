"""Removes messages from the queue that this service has not put there: garbage, or those of another program.

For a message that it cannot decode, Dramatiq would restart its consumer, and keep the message. It would try
one with wrong arguments several times. No job is lost with a message: a sweeper announces it again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final

import redis

logger = logging.getLogger(__name__)

#: The longest message that is decoded, bytes. One with a traceback of Dramatiq has a few thousand.
MAX_BYTES: Final = 64 * 1024
#: The longest delay that Dramatiq accepts, milliseconds.
_MAX_DELAY: Final = 7 * 24 * 3600 * 1000
#: Fetches in a row that return nothing but garbage, before the consumer gets its turn.
_MAX_FETCHES: Final = 200
_REPORT_SECONDS: Final = 10.0

#: Removes from a consumer's fetched messages those with the given SHA-1, and ids without a message.
_DROP: Final = """
local found = {}
for _, sha1 in ipairs(ARGV) do found[sha1] = true end
for _, id in ipairs(redis.call("SMEMBERS", KEYS[1])) do
    local data = redis.call("HGET", KEYS[2], id)
    if not data or found[redis.sha1hex(data)] then
        redis.call("SREM", KEYS[1], id)
        redis.call("HDEL", KEYS[2], id)
    end
end
"""


class MessageFilter:
    """Drops foreign messages of one queue and logs how many. Each consumer thread has its own.

    Args:
        client: the connection to the queue.
        acks: the key of the ids that the consumer has fetched and not acknowledged.
        messages: the key of the messages by id.
        queue: the name of the queue.
        actor: the only actor there is.
    """

    def __init__(self, client: redis.Redis, acks: str, messages: str, queue: str, actor: str) -> None:
        self._drop = client.register_script(_DROP)
        self._keys = [acks, messages]
        self._queue, self._actor = queue, actor
        self._dropped = 0
        self._next_report = 0.0

    def fetch(self, fetch: Callable[[], Sequence[bytes | None]]) -> list[bytes]:
        """Returns the service's own messages of a fetch; fetches again if there were only others.

        Args:
            fetch: returns the next messages and None for ids without one; empty at the end of the queue.
        """
        kept: list[bytes] = []
        for _ in range(_MAX_FETCHES):
            fetched = fetch()
            kept = [data for data in fetched if data is not None and self._is_ours(data)]
            if len(kept) < len(fetched):
                self._remove(fetched, kept)
            if kept or not fetched:
                break
        self._report()
        return kept

    def _remove(self, fetched: Sequence[bytes | None], kept: Sequence[bytes]) -> None:
        foreign = [data for data in fetched if data is not None and data not in kept]
        self._drop(self._keys, [hashlib.sha1(data, usedforsecurity=False).hexdigest() for data in foreign])
        self._dropped += len(fetched) - len(kept)

    def _report(self) -> None:
        if self._dropped and time.monotonic() >= self._next_report:
            logger.warning(
                "Messages dropped: they are not of this service. Look at who can write to Redis.",
                extra={"queue": self._queue, "messages": self._dropped},
            )
            self._dropped = 0
            self._next_report = time.monotonic() + _REPORT_SECONDS

    def _is_ours(self, data: bytes) -> bool:
        if len(data) > MAX_BYTES:
            return False
        try:
            message = json.loads(data)
        except (ValueError, RecursionError):
            return False
        match message:
            case {
                "queue_name": self._queue,
                "actor_name": self._actor,
                "args": [],
                "kwargs": {"job_id": str() as job_id, **others},
                "options": dict() as options,
                "message_id": str(),
                "message_timestamp": int(),
                **more,
            }:
                return not others and not more and _is_uuid(job_id) and _are_options(options)
        return False


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _are_options(options: dict[str, Any]) -> bool:
    """Returns True for the options that Dramatiq and its Retries set."""
    if not isinstance(options.get("redis_message_id"), str):
        return False
    for name, value in options.items():
        match name, value:
            case "redis_message_id" | "traceback", str():
                pass
            case "retries" | "requeue_timestamp", int() if value >= 0:
                pass
            case "eta", int() if 0 <= value <= time.time() * 1000 + 2 * _MAX_DELAY:
                pass
            case _:
                return False
    return True
