"""The parts of a multipart/form-data body (RFC 7578), one after the other, as the body streams past.

Own code, because libraries refuse what clients send: file names in any encoding, lines that end with LF,
headers of parts that are no headers. Nothing here depends on a file name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from videoqueue.api.form_headers import PartHeaders, read_part_headers

MAX_PARTS: Final = 16
MAX_HEADERS: Final = 16
#: All headers of a part together; also what may stand before the first boundary.
MAX_HEADER_BYTES: Final = 64 * 1024

_NO_END: Final = "its end is missing: two hyphens have to follow the last boundary"


class FormError(Exception):
    """The form cannot be read; the message says why, for the client."""


class FormTooLargeError(FormError):
    """The form has more parts or headers than it may have."""


def read_parts(pieces: Iterable[bytes], boundary: bytes) -> Iterator[tuple[PartHeaders, Iterator[bytes]]]:
    """Yields each part: its headers, and its bytes piece by piece. Bytes not asked for are skipped.

    The line of the first boundary decides whether lines of this form end with CR LF (RFC 2046 section 4.1.1)
    or with LF, as in Go's mime/multipart: the bytes of a file may hold either.

    Raises:
        FormError: the bytes are no form with this boundary, or end before the form does.
    """
    stream = _Stream(pieces)
    dashed = b"--" + boundary
    behind = _first_boundary(stream, dashed)
    delimiter = (b"\r\n" if behind.endswith(b"\r\n") else b"\n") + dashed
    more = not behind.startswith(b"--")
    count = 0
    while more:
        count += 1
        if count > MAX_PARTS:
            raise FormTooLargeError
        headers = _headers(stream)
        body = stream.until(delimiter)
        yield headers, body
        for _ in body:
            pass
        more = _is_followed_by_a_part(stream)
    stream.drain()


def _first_boundary(stream: _Stream, dashed: bytes) -> bytes:
    """Skips all up to the first boundary, and that. Returns: what stands behind it in its line."""
    room = MAX_HEADER_BYTES
    try:
        while line := stream.line(room):
            room -= len(line)
            behind = line.removeprefix(dashed)
            if behind != line and (behind.startswith(b"--") or not behind.strip()):
                return behind
    except FormTooLargeError:
        pass
    raise FormError(
        "it does not begin with the boundary that the Content-Type names. Let the client write that header "
        "itself, or put a boundary with characters such as = / : ? in double quotes"
    )


def _headers(stream: _Stream) -> PartHeaders:
    headers: list[tuple[str, str]] = []
    room = MAX_HEADER_BYTES
    while line := _whole(stream.line(room)).rstrip(b"\r\n"):
        room -= len(line)
        text = line.decode("latin-1")
        if text[0] in " \t" and headers:  # folded
            headers[-1] = headers[-1][0], headers[-1][1] + text
            continue
        name, _, value = text.partition(":")
        headers.append((name.strip().lower(), value))
        if len(headers) > MAX_HEADERS:
            raise FormTooLargeError
    return read_part_headers(headers)


def _is_followed_by_a_part(stream: _Stream) -> bool:
    """Reads what stands behind a boundary: `--` behind the last one, else white space and the line's end."""
    if stream.starts_with(b"--"):
        return False
    if _whole(stream.line(MAX_HEADER_BYTES)).strip():
        raise FormError("its boundary also stands within a part. Choose one that does not occur in the video")
    return True


def _whole(line: bytes) -> bytes:
    if not line.endswith(b"\n"):
        raise FormError(_NO_END)
    return line


class _Stream:
    """Bytes that arrive in pieces, read by lines and by delimiters."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._held = b""

    def line(self, limit: int) -> bytes:
        """Returns: the next line with its end; where the form ends, what is left.

        Raises:
            FormTooLargeError: it has more than `limit` bytes.
        """
        searched = 0
        while (end := self._held.find(b"\n", searched, max(limit, 0))) < 0:
            if len(self._held) >= limit:
                raise FormTooLargeError
            searched = len(self._held)
            if not self._more():
                return self._take(searched)
        return self._take(end + 1)

    def until(self, delimiter: bytes) -> Iterator[bytes]:
        """Yields what stands before the delimiter, and skips that.

        Raises:
            FormError: it does not come.
        """
        while (at := self._held.find(delimiter)) < 0:
            # What may be the beginning of the delimiter has to wait for the next piece.
            tail = max(0, len(self._held) - len(delimiter) + 1)
            start = self._held.find(delimiter[:1], tail)
            if piece := self._take(start if start >= 0 else len(self._held)):
                yield piece
            if not self._more():
                raise FormError(_NO_END)
        if at:
            yield self._take(at)
        self._take(len(delimiter))

    def starts_with(self, expected: bytes) -> bool:
        """Skips these bytes if they come next. Returns: whether they do."""
        while len(self._held) < len(expected) and self._more():
            pass
        if not self._held.startswith(expected):
            return False
        self._take(len(expected))
        return True

    def drain(self) -> None:
        self._held = b""
        for _ in self._pieces:
            pass

    def _take(self, count: int) -> bytes:
        taken, self._held = self._held[:count], self._held[count:]
        return taken

    def _more(self) -> bool:
        piece = next(self._pieces, b"")
        self._held += piece
        return bool(piece)
