"""A threaded worker that has room for the next client, however many say nothing or do not read.

A connection is parked while it waits in the main loop for its client. When connections are used up, of the
process or of one address, the one that has been parked for longest is closed.
"""

from __future__ import annotations

import resource
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from gunicorn import util
from gunicorn.workers.gthread import TConn

from videoqueue.server.accepting import AcceptingWorker
from videoqueue.server.bad_request import too_many_connections
from videoqueue.server.connection import BoundedSocket
from videoqueue.server.connection_table import ConnectionTable

#: Seconds that a client has to close the connection after the last response.
_LINGER: Final = 2.0
_DISCARD: Final = 256 * 1024
#: Seconds between two log lines of one kind.
_LOG_PAUSE: Final = 60.0


class Connection(TConn):  # type: ignore[misc]
    """A client's connection, with what the main loop knows of it."""

    def __init__(self, worker: CrowdedWorker, *args: Any) -> None:
        super().__init__(*args)
        self._worker = worker
        #: Releases the slot of the request that is being served.
        self.release: Callable[[], None] | None = None
        #: The queue that it is parked in.
        self.queue: deque[Connection] | None = None

    def close(self, graceful: bool = False) -> None:
        if graceful:
            self._worker.linger(self)
            return
        self._worker.table.closed(self)
        util.close(self.sock)


class CrowdedWorker(AcceptingWorker):
    """All methods run in the main loop."""

    #: The most connections of one address; None where all come from a proxy.
    address_share: int | None = None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.table: ConnectionTable[Connection] = ConnectionTable()
        self._lingering: deque[Connection] = deque()
        self._next_log: dict[str, float] = {}
        # gunicorn reserves a connection for each thread; here a kept one is closed when it is in the way.
        self.max_keepalived = self.worker_connections

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """gunicorn's own would warn that connections are not kept open."""

    def has_room(self, conn: Connection, address: str | None) -> bool:
        """Adds a connection to the table, and makes room for the next one.

        Returns:
            False if the address has too many connections in use; then this one is refused and closed.
        """
        self.table.opened(conn, address)
        share = self.address_share
        if share is not None and address is not None and self.table.count(address) > share:
            self.log_full("VIDEOQUEUE_MAX_CONNECTIONS_PER_ADDRESS", share)
            if (idle := self.table.longest_idle_of(address)) is None:
                self.refuse(conn, too_many_connections(share))
                return False
            self.evict(idle)
        self.make_room()
        return True

    def make_room(self) -> None:
        """Closes the longest idle connection if no other connection could be accepted."""
        if self.nr_conns >= self.worker_connections and (idle := self.table.longest_idle()) is not None:
            self.evict(idle)
            self.log_full("VIDEOQUEUE_MAX_CONNECTIONS", self.worker_connections)

    def free_file(self) -> bool:
        """Closes the longest idle connection if its file descriptor could then be used for another one.

        Returns:
            True if it was closed.
        """
        idle = self.table.longest_idle()
        if idle is None or idle.sock.fileno() >= resource.getrlimit(resource.RLIMIT_NOFILE)[0]:
            return False
        self.evict(idle)
        return True

    def evict(self, conn: Connection) -> None:
        """Closes a parked connection at once."""
        self.unpark(conn)
        self.nr_conns -= 1
        conn.close()

    def refuse(self, conn: Connection, response: bytes) -> None:
        """Sends a response without a thread, and closes the connection."""
        conn.sock.keeps_bytes = len(response)
        with suppress(OSError):
            conn.sock.sendall(response)
        self.nr_conns -= 1
        conn.close(graceful=True)

    def log_full(self, setting: str, limit: int) -> None:
        """Logs that a limit is reached and a connection was closed, once a minute for each setting."""
        now = time.monotonic()
        if now >= self._next_log.get(setting, now):
            self._next_log[setting] = now + _LOG_PAUSE
            self.log.warning(
                "Connections are closed: %s is reached.",
                setting,
                extra={"limit": limit, "connections": self.nr_conns},
            )

    def park(
        self,
        conn: Connection,
        queue: deque[Connection],
        seconds: float,
        ready: Callable[[BoundedSocket], None],
        event: int = selectors.EVENT_READ,
    ) -> bool:
        """Lets a connection wait for its client in the main loop.

        Args:
            conn: the connection.
            queue: the queue of all that wait for the same.
            seconds: how long it may wait.
            ready: called when the client has sent or accepts bytes.
            event: the selector's event.

        Returns:
            False if the connection cannot be watched; then it is closed, and not counted.
        """

        def callback(client: BoundedSocket) -> None:
            if conn.queue is not None:  # an earlier event of the same round may have closed it
                ready(client)

        conn.timeout = time.monotonic() + seconds
        try:
            conn.sock.setblocking(False)
            self.poller.register(conn.sock, event, callback)
        except (OSError, ValueError, KeyError) as error:
            self.nr_conns -= 1
            conn.close()
            if isinstance(error, OSError):
                self.pause_accepting(error)
            return False
        queue.append(conn)
        conn.queue = queue
        self.table.idle(conn)
        self.make_room()
        return True

    def unpark(self, conn: Connection) -> None:
        """Ends the wait of a parked connection."""
        self.poller.unregister(conn.sock)
        if conn.queue is not None:
            conn.queue.remove(conn)
        conn.queue = None
        self.table.busy(conn)

    def linger(self, conn: Connection) -> None:
        """Half-closes and waits for the client: closing with unread bytes would discard the response."""
        conn.sock.forget_received()
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except (OSError, ValueError):
            conn.close()
            return
        self.nr_conns += 1
        self.park(conn, self._lingering, _LINGER, lambda client: self._discard(conn, client))

    def _discard(self, conn: Connection, client: BoundedSocket) -> None:
        try:
            if client.recv(_DISCARD):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self.evict(conn)

    def murder_pending(self) -> None:
        super().murder_pending()
        self.expire(self._lingering)

    def expire(self, queue: deque[Connection]) -> None:
        """Closes the connections of a queue that have waited too long, and come in the order of that."""
        now = time.monotonic()
        while queue and queue[0].timeout < now:
            self.evict(queue[0])
