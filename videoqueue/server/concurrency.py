"""A limit on requests that are served at once, with which the application rejects further ones."""

from __future__ import annotations

import threading
from collections.abc import Callable


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
