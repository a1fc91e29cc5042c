"""A client socket with a timeout and a minimum transfer rate on every read and write."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

_PEEK: Final = 64 * 1024
_LARGEST_PIECE: Final = 1024 * 1024
_END_OF_HEADERS: Final = b"\r\n\r\n"


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

    A late read raises TimeoutError. Before the head of a request is complete, and for a late write, it is
    BrokenPipeError, as if the client had gone: servers log no traceback for it.
    """

    pace: Pace
    _patience: float | None
    _head_until: float | None
    _waited: float
    _received: int
    _seen: int

    @classmethod
    def adopt(cls, plain: socket.socket, pace: Pace) -> BoundedSocket:
        """Returns a bounded socket for the same connection; `plain` is detached."""
        bounded = cls(plain.family, plain.type, plain.proto, fileno=plain.detach())
        bounded.pace = pace
        bounded._seen = 0
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

    def peek_head(self) -> bytes | None:
        """Returns the beginning of a request without consuming it, or None while its head is incomplete.

        After None the socket becomes readable again only when more bytes have arrived. The socket must be
        non-blocking and, except for the first call, readable.
        """
        try:
            seen = self.recv(_PEEK, socket.MSG_PEEK)
            # Readable without any new byte: the client has closed the connection.
            whole = len(seen) == self._seen or _END_OF_HEADERS in seen or len(seen) >= _PEEK
            enough = 0 if whole else len(seen)
            if enough != self._seen:
                self._seen = enough
                self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, enough + 1)
        except BlockingIOError:
            return None
        except OSError:
            return b""
        return seen if whole else None

    def setblocking(self, flag: bool) -> None:
        self.settimeout(self.pace.stall_seconds if flag else 0.0)

    def settimeout(self, value: float | None) -> None:
        self._patience = value
        super().settimeout(value)

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Returns the bytes that have arrived, up to `bufsize`; b"" if the client closed the connection."""
        if self._patience == 0.0:
            return super().recv(bufsize, flags)
        began = time.monotonic()
        allowed = self._allowed(began)
        try:
            if allowed <= 0:
                raise TimeoutError("too slow")
            super().settimeout(allowed)
            data = super().recv(bufsize, flags)
        except TimeoutError:
            if self._head_until is None:
                raise
            raise BrokenPipeError(errno.EPIPE, "no request head in time") from None
        self._count(len(data), time.monotonic() - began)
        return data

    def _allowed(self, now: float) -> float:
        """Returns the seconds that the next byte may take."""
        patience = self.pace.stall_seconds if self._patience is None else self._patience
        if self._head_until is not None:
            return min(patience, self._head_until - now)
        if self._received < self.pace.window_bytes:
            return min(patience, self.pace.stall_seconds - self._waited)
        return patience

    def _count(self, received: int, waited: float) -> None:
        self._received += received
        self._waited += waited
        if self._received >= self.pace.window_bytes:
            self._received = 0
            self._waited = 0.0

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Sends the data in pieces; the client must accept each within `stall_seconds`."""
        view = memoryview(data)
        super().settimeout(self._patience)
        try:
            for start in range(0, len(view), self.pace.window_bytes):
                super().sendall(view[start : start + self.pace.window_bytes], flags)
        except TimeoutError:
            raise BrokenPipeError(errno.EPIPE, "the client reads too slowly") from None


class DirectBody:
    """A request body of known length, read from the socket; gunicorn's buffers would copy it six times.

    `read` returns the bytes that have arrived, at most `size`; b"" at the end of the body, and if the client
    has closed the connection.
    """

    def __init__(self, connection: BoundedSocket, unreader: Any, length: int) -> None:
        self._connection = connection
        self._ahead: bytes = unreader.take_buffered()
        self._left = length
        if len(self._ahead) > length:  # it includes the next request
            unreader.unread(self._ahead[length:])
            self._ahead = self._ahead[:length]
        #: Read by gunicorn: whether it is unknown where the next request on the connection begins.
        self.failed = False

    def read(self, size: int = -1) -> bytes:
        """Returns the bytes that have arrived, at most `size`; b"" at the end of the body."""
        wanted = self._left if size < 0 else min(size, self._left)
        if wanted == 0:
            return b""
        if self._ahead:
            piece, self._ahead = self._ahead[:wanted], self._ahead[wanted:]
        else:
            piece = self._receive(min(wanted, _LARGEST_PIECE))
        self._left -= len(piece)
        return piece

    def _receive(self, size: int) -> bytes:
        try:
            piece = self._connection.recv(size)
        except OSError:
            self.failed = True
            raise
        self.failed = not piece
        return piece

    def readline(self, size: int = -1) -> bytes:
        """Returns the next line with its newline, at most `size` bytes; b"" at the end of the body."""
        line = bytearray()
        while not line.endswith(b"\n") and len(line) != size and (byte := self.read(1)):
            line += byte
        return bytes(line)

    def readlines(self, hint: int = -1) -> list[bytes]:
        """Returns all remaining lines; `hint` has no effect."""
        return list(self)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")
