"""gunicorn's threaded worker, changed to serve the network without a buffering proxy in front.

In the original a slow client occupies a thread, or even the main loop, without a limit: it sends the request
head slowly, stops in the body, does not read the response, or does not close the connection. Here a request
gets a thread only when its whole head has arrived; every later wait has a limit (`BoundedSocket`); requests
with a long body, in either direction, are limited in number (`Lane`); and closing does not block the main
loop.
"""

from __future__ import annotations

import math
import selectors
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from gunicorn import util
from gunicorn.arbiter import Arbiter
from gunicorn.http import wsgi
from gunicorn.http.body import LengthReader
from gunicorn.http.errors import ParseException
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn

from videoqueue.server.accepting import AcceptingWorker
from videoqueue.server.bad_request import unreadable
from videoqueue.server.concurrency import Lane
from videoqueue.server.connection import BoundedSocket, DirectBody, Pace

#: Seconds that a client has to close the connection after the last response.
_LINGER: Final = 2.0
#: Seconds spent on reading the rest of an unread body, before the connection is closed.
_DRAIN: Final = 0.05
_DISCARD: Final = 256 * 1024


@dataclass(frozen=True)
class ServerLimits:
    """The limits of one server process, set before it starts."""

    pace: Pace
    #: Seconds for a request head to arrive.
    header_seconds: float
    #: Seconds that a request waits for its lane. Then it gets a thread, and the application rejects it.
    lane_seconds: float
    lanes: Sequence[Lane[_Connection]]


class _Response(wsgi.Response):  # type: ignore[misc]
    """Sends no `Server` header, and closes the connection if the application sends `Connection: close`."""

    def process_headers(self, headers: list[tuple[str, str]]) -> None:
        super().process_headers(headers)
        if any(name.lower() == "connection" and value.lower() == "close" for name, value in headers):
            self.force_close()

    def default_headers(self) -> list[str]:
        return [line for line in super().default_headers() if not line.startswith("Server:")]


class _Connection(TConn):  # type: ignore[misc]
    def __init__(self, worker: BoundedThreadWorker, *args: Any) -> None:
        super().__init__(*args)
        self._worker = worker
        #: Releases the slot of the request that is being served.
        self.release: Callable[[], None] | None = None

    def close(self, graceful: bool = False) -> None:
        if graceful:
            self._worker.linger(self)
        else:
            super().close()


class BoundedThreadWorker(AcceptingWorker):
    """All methods run in the main loop, except `handle` and what it calls."""

    limits: ServerLimits

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._lingering: deque[_Connection] = deque()
        self._stop_at = math.inf

    def init_process(self) -> None:
        wsgi.Response = _Response
        super().init_process()

    def load_wsgi(self) -> None:
        """Loads the application. A setting that it refuses ends the server, whose exit code is 3.

        gunicorn would start a worker that ends with another code again, without a pause and without an end.
        """
        try:
            super().load_wsgi()
        except SystemExit as error:
            sys.stderr.write(f"{error}\n")
            raise SystemExit(Arbiter.WORKER_BOOT_ERROR) from None

    def accept(self, listener: Any) -> None:
        accepted = self.next_connection(listener)
        if accepted is None:
            return
        plain, address = accepted
        self.nr_conns += 1
        bounded = BoundedSocket.adopt(plain, self.limits.pace)
        conn = _Connection(self, self.cfg, bounded, address, listener.getsockname())
        self._begin(conn, bounded.peek_head())

    def _begin(self, conn: _Connection, head: bytes | None) -> None:
        if head is None:
            self._await_head(conn)
        else:
            self._dispatch(conn, head)

    def _await_head(self, conn: _Connection) -> None:
        """Keeps the connection in the main loop until its request head is complete or late."""
        conn.timeout = time.monotonic() + self.limits.header_seconds
        try:
            self.poller.register(
                conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn)
            )
        except OSError as error:
            self.nr_conns -= 1
            conn.close()
            self.pause_accepting(error)
            return
        self.pending_conns.append(conn)

    def on_client_socket_readable(self, conn: _Connection, client: BoundedSocket) -> None:
        """Called when the next request begins on a connection that was kept open."""
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self._begin(conn, client.peek_head())

    def on_pending_socket_readable(self, conn: _Connection, client: BoundedSocket) -> None:
        head = client.peek_head()
        if head is None:
            return
        self.poller.unregister(client)
        self.pending_conns.remove(conn)
        self._dispatch(conn, head)

    def _dispatch(self, conn: _Connection, head: bytes) -> None:
        conn.data_ready = True
        lane = next((lane for lane in self.limits.lanes if head.startswith(lane.prefix)), None)
        if lane is not None:
            conn.release = lane.enter(conn, self.limits.lane_seconds)
            if conn.release is None:
                return
        self.enqueue_req(conn)

    def finish_request(self, conn: _Connection, fs: Future[Any]) -> None:
        release, conn.release = conn.release, None
        super().finish_request(conn, fs)
        if release is not None:
            release()
            for lane in self.limits.lanes:
                for waiting, slot in lane.admitted():
                    waiting.release = slot
                    self.enqueue_req(waiting)

    def handle(self, conn: _Connection) -> Any:
        """Returns gunicorn's result: whether the connection is kept, or that no data has arrived yet."""
        conn.sock.expect_head(self.limits.header_seconds)
        return super().handle(conn)

    def handle_request(self, req: Any, conn: _Connection) -> Any:
        """Returns True when gunicorn may keep the connection for another request."""
        conn.sock.expect_body()
        if isinstance(req.body.reader, LengthReader):
            req.body = DirectBody(conn.sock, conn.parser.unreader, req.body.reader.length)
        return super().handle_request(req, conn)

    def _keepalive_after(self, conn: _Connection, keepalive: Any) -> bool:
        return bool(keepalive and conn.parser.finish_body(deadline=time.monotonic() + _DRAIN))

    def handle_error(self, req: Any, client: BoundedSocket, addr: Any, exc: BaseException) -> None:
        """Responds to a request that could not be parsed, with a problem of the application's form."""
        if not isinstance(exc, ParseException):
            super().handle_error(req, client, addr, exc)
            return
        self.log.info("A request could not be read: %s", type(exc).__name__)
        client.sendall(unreadable(exc))

    def linger(self, conn: _Connection) -> None:
        """Half-closes and waits for the client: closing with unread bytes would discard the response."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
            conn.timeout = time.monotonic() + _LINGER
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._discard, conn))
        except (OSError, ValueError, KeyError):
            util.close(conn.sock)
            return
        self._lingering.append(conn)
        self.nr_conns += 1

    def _discard(self, conn: _Connection, client: BoundedSocket) -> None:
        try:
            if client.recv(_DISCARD):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._lingering.remove(conn)
        self._hang_up(conn)

    def _hang_up(self, conn: _Connection) -> None:
        self.poller.unregister(conn.sock)
        util.close(conn.sock)
        self.nr_conns -= 1

    def murder_pending(self) -> None:
        """Called by the main loop about once a second: ends what has waited too long."""
        now = time.monotonic()
        if not self.alive:
            self._stop_at = min(self._stop_at, now + STOP_KEEPALIVE_LINGER)
            for conn in self.pending_conns:
                conn.timeout = min(conn.timeout, self._stop_at)
        super().murder_pending()
        for lane in self.limits.lanes:
            for conn in lane.overdue():
                self.enqueue_req(conn)
        while self._lingering and self._lingering[0].timeout < now:
            self._hang_up(self._lingering.popleft())
