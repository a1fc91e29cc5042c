"""Limits on requests that take as long as their client likes, so that threads remain for the others.

`ConcurrencyLimit` counts. The server uses it through `Lane`, where a request above the limit waits without a
thread; the application uses it to reject what the server has let through after the wait.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


class ConcurrencyLimit:
    """At most `limit` holders at once. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._free = threading.BoundedSemaphore(limit)

    def acquire(self) -> Callable[[], None] | None:
        """Acquires a slot without waiting.

        Returns:
            A release function; calling it again has no effect. None if no slot is free.
        """
        if not self._free.acquire(blocking=False):
            return None
        held = [self._free]

        def release() -> None:
            if held:
                held.pop().release()

        return release


@dataclass
class Lane(Generic[T]):
    """Requests that begin with `prefix`; those above the limit wait in order of arrival.

    Used by one thread.
    """

    prefix: bytes
    limit: ConcurrencyLimit
    _waiting: deque[tuple[T, float]] = field(default_factory=deque)

    def enter(self, request: T, wait_seconds: float) -> Callable[[], None] | None:
        """Acquires a slot for the request, or lets it wait for at most `wait_seconds`.

        Returns:
            The release function of the slot, or None if the request waits.
        """
        release = None if self._waiting else self.limit.acquire()
        if release is None:
            self._waiting.append((request, time.monotonic() + wait_seconds))
        return release

    def admitted(self) -> Iterator[tuple[T, Callable[[], None]]]:
        """Yields each waiting request for which a slot is free, with the release function of the slot."""
        while self._waiting and (release := self.limit.acquire()):
            yield self._waiting.popleft()[0], release

    def overdue(self) -> Iterator[T]:
        """Yields each request that has waited too long, and forgets it."""
        while self._waiting and self._waiting[0][1] < time.monotonic():
            yield self._waiting.popleft()[0]
