"""Sends the rest of a response in the main loop, so that a client that does not read holds no thread."""

from __future__ import annotations

import selectors
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from videoqueue.server.connection import BoundedSocket, Pace
from videoqueue.server.crowded import Connection, CrowdedWorker


class SendingWorker(CrowdedWorker):
    """All methods run in the main loop."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._sending: deque[Connection] = deque()

    def send_later(self, conn: Connection, pace: Pace, limit: int, done: Callable[[], None]) -> None:
        """Sends what the socket keeps as the client accepts it.

        Args:
            conn: the connection.
            pace: the slowest client that is served.
            limit: the bytes that all connections may keep; beyond it the one that waits longest is closed.
            done: called when everything has been sent.
        """
        seconds = max(pace.stall_seconds, conn.sock.unsent / pace.bytes_per_second)
        self.park(conn, self._sending, seconds, partial(self._flush, conn, done), selectors.EVENT_WRITE)
        while sum(other.sock.unsent for other in self._sending) > limit:
            self.log_full("VIDEOQUEUE_SEND_BUFFER_BYTES", limit)
            self.evict(self._sending[0])

    def _flush(self, conn: Connection, done: Callable[[], None], client: BoundedSocket) -> None:
        try:
            if not client.flush():
                return
        except OSError:
            self.evict(conn)
            return
        self.unpark(conn)
        done()

    def murder_pending(self) -> None:
        super().murder_pending()
        now = time.monotonic()
        for conn in [conn for conn in self._sending if conn.timeout < now]:
            self.evict(conn)
