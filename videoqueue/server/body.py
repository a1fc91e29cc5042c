"""Request bodies that are read cheaply: of known length directly, in chunks only if these are not tiny.

Each chunk costs processor time, whatever it holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from gunicorn.http.body import ChunkedReader
from gunicorn.http.errors import ParseException

from videoqueue.server.connection import BoundedSocket
from videoqueue.server.expectation import Expectation

_LARGEST_PIECE: Final = 1024 * 1024
#: Chunks of any size that each body may have first.
_FREE: Final = 10_000
#: So many bytes of the line in front of a chunk, which can have extensions, count as one chunk more.
_LINE: Final = 64


class TinyChunksError(ParseException):  # type: ignore[misc]
    """The chunks of a body are smaller, on average, than the limit."""


class BoundedChunks(ChunkedReader):  # type: ignore[misc]
    """Reads a chunked body (RFC 9112 section 7.1) as gunicorn does.

    Raises TinyChunksError when the average chunk is too small.
    """

    def __init__(self, request: Any, unreader: Any, least_bytes: int, expectation: Expectation) -> None:
        """Reads nothing yet.

        Args:
            request: gunicorn's request.
            unreader: gunicorn's buffer of the connection.
            least_bytes: the smallest average of bytes in a chunk, beyond the first 10,000 chunks.
            expectation: met by the first read.
        """
        super().__init__(request, unreader)
        self._expectation = expectation
        self._least_bytes = least_bytes
        self._chunks = self._bytes = self._read = 0

    def parse_chunk_size(self, unreader: Any, data: bytes | None = None) -> tuple[int, bytes | None]:
        """Returns the size of the next chunk, 0 at the end, and the bytes behind its first line.

        Raises:
            TinyChunksError: the chunks so far are too small.
            ParseException: the chunk is not valid.
        """
        self._read = len(data or b"")
        size, rest = super().parse_chunk_size(unreader, data=data)
        line = self._read - len(rest or b"") if size else 0
        self._chunks += 1 + line // _LINE
        if size and self._bytes < (self._chunks - _FREE) * self._least_bytes:
            raise TinyChunksError
        self._bytes += size
        return size, rest

    def read_into(self, unreader: Any, buf: bytearray) -> None:
        """Appends what one read from the connection returns, and counts it."""
        before = len(buf)
        self._expectation.meet()
        super().read_into(unreader, buf)
        self._read += len(buf) - before


class DirectBody:
    """A request body of known length, read from the socket; gunicorn's buffers would copy it six times.

    `read` returns the bytes that have arrived, at most `size`; b"" at the end of the body, and if the client
    has closed the connection.
    """

    def __init__(
        self, connection: BoundedSocket, unreader: Any, length: int, expectation: Expectation
    ) -> None:
        self._connection = connection
        self._expectation = expectation
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
            self._expectation.meet()
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
