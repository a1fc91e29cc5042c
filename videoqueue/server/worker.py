"""gunicorn's threaded worker, changed to serve the network without a buffering proxy in front.

In the original a slow client occupies a thread, or even the main loop, without a limit: it sends the request
head slowly, stops in the body, does not read the response, or does not close the connection. Here a request
gets a thread only when its whole head has arrived and all earlier responses have been sent; every later wait
has a limit (`BoundedSocket`); a short response that the client does not accept is sent by the main loop;
requests with a long body, in either direction, are limited in number (`Lane`); and closing does not block
the main loop.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from gunicorn.arbiter import Arbiter
from gunicorn.http import wsgi
from gunicorn.http.body import ChunkedReader, LengthReader
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER

from videoqueue.server.addresses import address_of, forwarded_for
from videoqueue.server.bad_request import MAX_HEAD, MAX_LINE, unreadable
from videoqueue.server.body import BoundedChunks, DirectBody
from videoqueue.server.connection import END_OF_HEADERS, BoundedSocket, Pace
from videoqueue.server.crowded import Connection
from videoqueue.server.expectation import Expectation
from videoqueue.server.lanes import REFUSAL, Lane, requested
from videoqueue.server.response import QuietResponse
from videoqueue.server.sending import SendingWorker

#: Seconds spent on reading the rest of an unread body, before the connection is closed.
_DRAIN: Final = 0.05
#: Seconds that a thread may take to read a request head, which has arrived before.
_HEAD_READING: Final = 1.0
#: The part of the send buffer that one connection may use.
_SEND_SHARE: Final = 64


@dataclass(frozen=True)
class ServerLimits:
    """The limits of one server process, set before it starts."""

    pace: Pace
    #: Seconds for a request head to arrive.
    header_seconds: float
    #: Seconds that a request waits for its lane. Then it gets a thread, and the application rejects it.
    lane_seconds: float
    lanes: Sequence[Lane[Connection]]
    #: Trusted proxies in front. With any, all connections are theirs, and clients are told apart by
    #: X-Forwarded-For.
    proxies: int = 0
    #: Connections of one address.
    address_share: int | None = None
    #: Bytes of responses that wait in memory for their clients.
    send_bytes: int = 64 * 1024**2
    #: Bytes in a chunk of a body, on average.
    least_chunk_bytes: int = 64


class BoundedThreadWorker(SendingWorker):
    """All methods run in the main loop, except `handle` and what it calls."""

    limits: ServerLimits
    wsgi: Any

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._stop_at = math.inf

    def init_process(self) -> None:
        wsgi.Response = QuietResponse
        self.address_share = None if self.limits.proxies else self.limits.address_share
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
        application = self.wsgi

        def with_refusal(environ: dict[str, Any], start_response: Any) -> Any:
            environ[REFUSAL] = environ["gunicorn.socket"].refusal
            return application(environ, start_response)

        self.wsgi = with_refusal

    def accept(self, listener: Any) -> None:
        accepted = self.next_connection(listener)
        if accepted is None:
            return
        plain, peer = accepted
        self.nr_conns += 1
        bounded = BoundedSocket.adopt(plain, self.limits.pace)
        conn = Connection(self, self.cfg, bounded, peer, listener.getsockname())
        if self.has_room(conn, address_of(peer)):
            self._begin(conn)
        if self.nr_conns >= self.worker_connections:
            self._give_up_waiting()

    def _begin(self, conn: Connection) -> None:
        """Serves the next request of a connection, or waits in the main loop until its head is complete."""
        head = conn.sock.read_head()
        if head is None:
            ready = partial(self.on_pending_socket_readable, conn)
            self.park(conn, self.pending_conns, self.limits.header_seconds, ready)
        else:
            self._dispatch(conn, head)

    def on_client_socket_readable(self, conn: Connection, client: BoundedSocket) -> None:
        """Called when the next request begins on a connection that was kept open."""
        self.unpark(conn)
        self._begin(conn)

    def on_pending_socket_readable(self, conn: Connection, client: BoundedSocket) -> None:
        head = client.read_head()
        if head is not None:
            self.unpark(conn)
            self._dispatch(conn, head)

    def _dispatch(self, conn: Connection, head: bytes) -> None:
        """Starts a request, or lets it wait for its lane."""
        if END_OF_HEADERS not in head:
            self._end_without_request(conn, head)
            return
        conn.data_ready = True
        conn.sock.refusal = ""
        method, segments = requested(head)
        lane = next((lane for lane in self.limits.lanes if lane.matches(method, segments)), None)
        streams = lane is not None and lane.streams
        conn.sock.keeps_bytes = 0 if streams else max(1, self.limits.send_bytes // _SEND_SHARE)
        if lane is not None:
            conn.release = lane.enter(conn, self._client_of(conn, head), self.limits.lane_seconds)
            if conn.release is None:
                return
        self.enqueue_req(conn)

    def _client_of(self, conn: Connection, head: bytes) -> str | None:
        proxies = self.limits.proxies
        return forwarded_for(head, proxies) if proxies else address_of(conn.client)

    def _end_without_request(self, conn: Connection, head: bytes) -> None:
        """Closes a connection that the client has closed, or refuses a head that is too long."""
        if len(head) >= MAX_HEAD:
            first = head.partition(b"\r\n")[0]
            is_line = len(first) > MAX_LINE
            error = LimitRequestLine(len(first), MAX_LINE) if is_line else LimitRequestHeaders("head")
            self.refuse(conn, unreadable(error))
            return
        self.nr_conns -= 1
        conn.close()

    def _give_up_waiting(self) -> None:
        """Refuses the request that has waited longest for its lane: it takes the place of other clients."""
        for lane in self.limits.lanes:
            self._refuse_waiting(lane.give_up())

    def _refuse_waiting(self, waiting: Iterable[tuple[Connection, str]]) -> None:
        """Starts a thread for each request, so that the application can refuse it."""
        for conn, reason in waiting:
            conn.sock.refusal = reason
            self.enqueue_req(conn)

    def finish_request(self, conn: Connection, fs: Future[Any]) -> None:
        """Called when a thread is done with a request; a part of the response may not have been sent."""
        release, conn.release = conn.release, None
        if conn.sock.unsent:
            self.send_later(
                conn, self.limits.pace, self.limits.send_bytes, partial(self._end_request, conn, fs)
            )
        else:
            self._end_request(conn, fs)
        if release is not None:
            release()
            for lane in self.limits.lanes:
                for waiting, slot in lane.admitted():
                    waiting.release = slot
                    self.enqueue_req(waiting)

    def _end_request(self, conn: Connection, fs: Future[Any]) -> None:
        """Waits for the next request of the connection, or closes it."""
        if fs.cancelled() or fs.exception() is not None or not fs.result():
            self.nr_conns -= 1
            conn.close(graceful=True)
            return
        conn.sock.ahead = conn.parser.unreader.buf.getvalue()
        if conn.sock.has_more:
            conn.sock.setblocking(False)
            self._begin(conn)
            return
        seconds = self.cfg.keepalive if self.alive else min(self.cfg.keepalive, STOP_KEEPALIVE_LINGER)
        self.park(conn, self.keepalived_conns, seconds, partial(self.on_client_socket_readable, conn))

    def handle(self, conn: Connection) -> Any:
        """Returns gunicorn's result: whether the connection is kept, or that no data has arrived yet."""
        conn.sock.expect_head(_HEAD_READING)
        return super().handle(conn)

    def handle_request(self, req: Any, conn: Connection) -> Any:
        """Returns True when gunicorn may keep the connection for another request."""
        conn.sock.expect_body()
        reader, unreader = req.body.reader, conn.parser.unreader
        is_chunked = isinstance(reader, ChunkedReader)
        length = reader.length if isinstance(reader, LengthReader) else 0
        has_begun = conn.sock.has_received or bool(unreader.buf.getvalue())
        waits = req._expected_100_continue and (is_chunked or length > 0) and not has_begun
        req.expectation = Expectation(conn.sock, waits)
        req._expected_100_continue = False  # gunicorn would send 100 in front of a refusal
        if is_chunked:
            least_bytes = self.limits.least_chunk_bytes
            req.body.reader = BoundedChunks(req, unreader, least_bytes, req.expectation)
        elif isinstance(reader, LengthReader):
            req.body = DirectBody(conn.sock, unreader, length, req.expectation)
        return super().handle_request(req, conn)

    def _keepalive_after(self, conn: Connection, keepalive: Any) -> bool:
        return bool(keepalive and conn.parser.finish_body(deadline=time.monotonic() + _DRAIN))

    def handle_error(self, req: Any, client: BoundedSocket, addr: Any, exc: BaseException) -> None:
        """Responds to a request that could not be parsed, with a problem of the application's form."""
        if not isinstance(exc, ParseException):
            super().handle_error(req, client, addr, exc)
            return
        self.log.info("A request could not be read: %s", type(exc).__name__)
        client.sendall(unreadable(exc))

    def murder_pending(self) -> None:
        """Called by the main loop about once a second: ends what has waited too long."""
        now = time.monotonic()
        if not self.alive:
            self._stop_at = min(self._stop_at, now + STOP_KEEPALIVE_LINGER)
            for conn in self.pending_conns:
                conn.timeout = min(conn.timeout, self._stop_at)
        super().murder_pending()
        for lane in self.limits.lanes:
            self._refuse_waiting(lane.overdue())
