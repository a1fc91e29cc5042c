"""Splits a multipart/form-data body (RFC 7578) into its parts, as a stream.

This is our own code because libraries reject what some clients send: file names in any encoding, lines that
end with LF, malformed headers of a part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from videoqueue.api.form_headers import PartHeaders, read_part_headers

_NO_END: Final = "its end is missing: two hyphens have to follow the last boundary"


class FormError(Exception):
    """The form cannot be read. The message for the client names the reason."""


class FormTooLargeError(FormError):
    """The form exceeds a limit. The message for the client names the limit and its setting."""


@dataclass(frozen=True, kw_only=True)
class FormLimits:
    """The maximum size of a form without its video.

    Attributes:
        parts: the number of parts, including the video.
        headers: the number of headers of one part.
        header_bytes: the bytes of all headers of one part, and of the text before the first boundary.
        field_bytes: the bytes of a text field.
    """

    parts: int
    headers: int
    header_bytes: int
    field_bytes: int

    @property
    def overhead(self) -> int:
        """Returns the maximum number of bytes of a form without its video."""
        return self.parts * (self.header_bytes + self.field_bytes)


def read_parts(
    pieces: Iterable[bytes], boundary: bytes, limits: FormLimits
) -> Iterator[tuple[PartHeaders, Iterator[bytes]]]:
    """Yields the headers of each part, and its bytes in pieces. Skips pieces that the caller does not read.

    The line of the first boundary determines the line end of the whole form: CR LF (RFC 2046 section 4.1.1)
    or LF. Go's mime/multipart does the same. The bytes of a file can contain both.

    Raises:
        FormError: the body is not a form with this boundary, or it is cut off.
        FormTooLargeError: the form exceeds a limit.
    """
    stream = _Stream(pieces)
    dashed = b"--" + boundary
    behind = _first_boundary(stream, dashed, limits)
    delimiter = (b"\r\n" if behind.endswith(b"\r\n") else b"\n") + dashed
    more = not behind.startswith(b"--")
    count = 0
    while more:
        count += 1
        if count > limits.parts:
            raise FormTooLargeError(
                f"The form has more than {limits.parts:,} parts, the most that are accepted "
                "(VIDEOQUEUE_MAX_FORM_PARTS). Send `file` and the parameters only."
            )
        headers = _headers(stream, limits)
        # The empty line before the boundary can be the line end of the boundary (RFC 2046, section 5.1.1).
        body = iter(()) if stream.starts_with(dashed) else stream.until(delimiter)
        yield headers, body
        for _ in body:
            pass
        more = _is_followed_by_a_part(stream, limits)
    stream.drain()


def _first_boundary(stream: _Stream, dashed: bytes, limits: FormLimits) -> bytes:
    """Skips everything up to the first boundary. Returns the rest of its line."""
    room = limits.header_bytes
    while line := stream.line(room):
        room -= len(line)
        behind = line.removeprefix(dashed)
        if behind != line and (behind.startswith(b"--") or not behind.strip()):
            return behind
    within = (
        "" if line == b"" else f" within {limits.header_bytes:,} bytes (VIDEOQUEUE_MAX_FORM_HEADER_BYTES)"
    )
    raise FormError(
        f"it does not begin with the boundary that the Content-Type names{within}. Let the client write that "
        "header itself, or put a boundary with characters such as = / : ? in double quotes"
    )


def _headers(stream: _Stream, limits: FormLimits) -> PartHeaders:
    headers: list[tuple[str, str]] = []
    room = limits.header_bytes
    while line := _whole(_header_line(stream, room, limits)).rstrip(b"\r\n"):
        room -= len(line)
        text = line.decode("latin-1")
        if text[0] in " \t" and headers:  # folded
            headers[-1] = headers[-1][0], headers[-1][1] + text
            continue
        name, _, value = text.partition(":")
        headers.append((name.strip().lower(), value))
        if len(headers) > limits.headers:
            raise FormTooLargeError(
                f"A part of the form has more than {limits.headers:,} headers, the most that are accepted "
                "(VIDEOQUEUE_MAX_FORM_HEADERS). Send Content-Disposition and Content-Type only."
            )
    return read_part_headers(headers)


def _header_line(stream: _Stream, room: int, limits: FormLimits) -> bytes:
    line = stream.line(room)
    if line is None:
        raise FormTooLargeError(
            f"A part of the form has more than {limits.header_bytes:,} bytes of headers, the most that are "
            "accepted (VIDEOQUEUE_MAX_FORM_HEADER_BYTES). Shorten the file name."
        )
    return line


def _is_followed_by_a_part(stream: _Stream, limits: FormLimits) -> bool:
    """Reads the rest of a boundary's line. Returns False after the last boundary, which ends with `--`."""
    if stream.starts_with(b"--"):
        return False
    line = stream.line(limits.header_bytes)
    if line is None or _whole(line).strip():
        raise FormError("its boundary also occurs in a part. Choose one that does not occur in the video")
    return True


def _whole(line: bytes) -> bytes:
    if not line.endswith(b"\n"):
        raise FormError(_NO_END)
    return line


class _Stream:
    """A stream of pieces that can be read by lines and up to a delimiter."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._held = b""

    def line(self, limit: int) -> bytes | None:
        """Returns the next line with its line end, the rest at the end of the stream, or None.

        None is returned for a line of more than `limit` bytes.
        """
        searched = 0
        while (end := self._held.find(b"\n", searched, max(limit, 0))) < 0:
            if len(self._held) >= limit:
                return None
            searched = len(self._held)
            if not self._more():
                return self._take(searched)
        return self._take(end + 1)

    def until(self, delimiter: bytes) -> Iterator[bytes]:
        """Yields the bytes before the delimiter, and skips the delimiter.

        Raises:
            FormError: the stream ends first.
        """
        while (at := self._held.find(delimiter)) < 0:
            # The last bytes can be the start of the delimiter. They wait for the next piece.
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
        """Returns whether these bytes come next, and skips them if so."""
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
