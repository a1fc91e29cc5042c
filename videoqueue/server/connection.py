"""A client socket with a timeout and a minimum transfer rate on every read and write."""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from videoqueue.server.bad_request import MAX_HEAD

END_OF_HEADERS: Final = b"\r\n\r\n"
#: struct linger of socket(7): close(2) resets the connection.
_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Pace:
    """The slowest client that is served: seconds without a byte, and bytes a second over that time."""

    stall_seconds: float
    bytes_per_second: int

    @property
    def window_bytes(self) -> int:
        """Returns the bytes that must be transferred for each `stall_seconds` of waiting."""
        return max(1, int(self.stall_seconds * self.bytes_per_second))


class BoundedSocket(socket.socket):
    """A socket whose reads and writes block for as long as the pace allows.

    Only the time spent waiting for the client counts, not the server's own between two reads.

    What a client does not accept at once is kept in memory up to a limit, so that the thread is free;
    `flush` sends it later.

    A late read raises TimeoutError. Before the head of a request is complete, and for a late write, it is
    BrokenPipeError, as if the client had gone: servers log no traceback for it.
    """

    pace: Pace
    #: Bytes that are kept for the client; a write beyond it blocks. 0: every write blocks.
    keeps_bytes: int
    #: Bytes that are kept now.
    unsent: int
    #: Bytes of the next request that the parser has read together with the one before.
    ahead: bytes
    #: Why the request is refused, if it is.
    refusal: str
    _kept: deque[memoryview]
    _patience: float | None
    _head_until: float | None
    _waited: float
    _received: int
    _taken: bytes

    @classmethod
    def adopt(cls, plain: socket.socket, pace: Pace) -> BoundedSocket:
        """Returns a bounded socket for the same connection; `plain` is detached."""
        bounded = cls(plain.family, plain.type, plain.proto, fileno=plain.detach())
        bounded.pace = pace
        bounded.keeps_bytes = bounded.unsent = 0
        bounded.ahead = bounded._taken = b""
        bounded.refusal, bounded._kept = "", deque()
        bounded.expect_body()
        bounded.setblocking(True)
        return bounded

    def expect_head(self, seconds: float) -> None:
        """Starts the time of a request head, which must be complete within `seconds`."""
        self._head_until = time.monotonic() + seconds

    def expect_body(self) -> None:
        """Ends the time of a request head; from now on the pace applies."""
        self._head_until = None
        self._waited = 0.0
        self._received = 0

    def read_head(self) -> bytes | None:
        """Returns the beginning of a request, or None while its head is incomplete.

        `recv` returns these bytes again. The socket must be non-blocking. A head that is incomplete when it
        is returned stays so: the client has closed the connection, or the head is longer than 64 KiB.
        """
        head = self.ahead + self._taken
        if END_OF_HEADERS in head:
            return head
        try:
            data = super().recv(MAX_HEAD)
        except BlockingIOError:
            return None
        except OSError:
            return b""
        self._taken += data
        head += data
        is_final = not data or END_OF_HEADERS in head or len(head) >= MAX_HEAD
        return head if is_final else None

    @property
    def has_more(self) -> bool:
        """Returns whether bytes of the next request have been received."""
        return bool(self.ahead or self._taken)

    @property
    def has_received(self) -> bool:
        """Returns whether `recv` can return bytes that have been read in front of the request."""
        return bool(self._taken)

    def forget_received(self) -> None:
        """Drops the bytes of the next request, which nobody will read."""
        self.ahead = self._taken = b""

    def close(self) -> None:
        """Closes the connection; with a reset if a request has begun, which is not served."""
        if self.has_more:
            with suppress(OSError):
                self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        super().close()

    def setblocking(self, flag: bool) -> None:
        self.settimeout(self.pace.stall_seconds if flag else 0.0)

    def settimeout(self, value: float | None) -> None:
        self._patience = value
        super().settimeout(value)

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Returns the bytes that have arrived, up to `bufsize`; b"" if the client closed the connection."""
        if self._taken:
            data = self._taken[:bufsize]
            self._taken = self._taken[bufsize:]
            self._count(len(data), 0.0)
            return data
        if self._patience == 0.0:
            return super().recv(bufsize, flags)
        began = time.monotonic()
        allowed = self._allowed(began)
        try:
            if allowed < 0:
                raise TimeoutError("too slow")
            super().settimeout(allowed)
            data = super().recv(bufsize, flags)
        except (TimeoutError, BlockingIOError):
            if self._head_until is None:
                raise TimeoutError("too slow") from None
            raise BrokenPipeError(errno.EPIPE, "no request head in time") from None
        self._count(len(data), time.monotonic() - began)
        return data

    def _allowed(self, now: float) -> float:
        """Returns the seconds that the next byte may take."""
        patience = self.pace.stall_seconds if self._patience is None else self._patience
        if self._head_until is not None:
            return max(0.0, min(patience, self._head_until - now))
        if self._received < self.pace.window_bytes:
            return min(patience, self.pace.stall_seconds - self._waited)
        return patience

    def _count(self, received: int, waited: float) -> None:
        self._received += received
        self._waited += waited
        if self._received >= self.pace.window_bytes:
            self._received = 0
            self._waited = 0.0

    def send(self, data: Any, flags: int = 0) -> int:
        """Sends all of the data, as `sendall` does. Returns its length."""
        self.sendall(data, flags)
        return len(data)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Sends the data, or keeps the part that the client does not accept now.

        Beyond `keeps_bytes` it blocks: the client must then accept each piece within `stall_seconds`.
        """
        view = memoryview(data)
        if self.keeps_bytes and not self._kept:
            view = view[self._written(view) :]
        if self.keeps_bytes and self.unsent + len(view) <= self.keeps_bytes:
            if view:
                self._kept.append(view)
                self.unsent += len(view)
            return
        while self._kept:
            self._send_slowly(self._kept.popleft())
        self.unsent = 0
        self._send_slowly(view)

    def flush(self) -> bool:
        """Sends what is kept, as far as the client accepts it now. Returns whether nothing is left.

        Raises:
            OSError: the connection is broken.
        """
        while self._kept:
            view = self._kept.popleft()
            sent = self._written(view)
            self.unsent -= sent
            if sent < len(view):
                self._kept.appendleft(view[sent:])
                return False
        return True

    def _written(self, view: memoryview) -> int:
        """Returns how many bytes the system accepted without waiting: with a timeout it never waits."""
        try:
            return os.write(self.fileno(), view)
        except BlockingIOError:
            return 0

    def _send_slowly(self, view: memoryview) -> None:
        super().settimeout(self._patience)
        try:
            for start in range(0, len(view), self.pace.window_bytes):
                super().sendall(view[start : start + self.pace.window_bytes])
        except TimeoutError:
            raise BrokenPipeError(errno.EPIPE, "the client reads too slowly") from None
