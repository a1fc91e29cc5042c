"""Which bytes of a file a request asks for (RFC 9110 section 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from flask import Request

from videoqueue.api.problems import ApiError

_RANGE: Final = re.compile(r"\s*(?:([0-9]+)-([0-9]*)|-([0-9]+))\s*")
#: The longest number that is read; a larger one is behind the end of any file.
_DIGITS: Final = 18


@dataclass(frozen=True)
class ByteRange:
    """The bytes from `start` up to `end`, which is not among them, of a file of `size` bytes."""

    start: int
    end: int
    size: int

    @property
    def length(self) -> int:
        """Returns the number of bytes."""
        return self.end - self.start

    @property
    def content_range(self) -> str:
        """Returns the value of the header Content-Range."""
        return f"bytes {self.start}-{self.end - 1}/{self.size}"


def wanted_range(request: Request, size: int, etag: str) -> ByteRange | None:
    """Returns the range that the request asks for; the first that can be had, if it asks for several.

    Args:
        request: a GET request.
        size: the bytes of the file.
        etag: the file's strong ETag, without quotes.

    Returns:
        None if the whole file is to be sent: there is no `Range`, it is not valid or not in bytes, or
        `If-Range` names another version of the file.

    Raises:
        ApiError: `range_not_satisfiable`.
    """
    given = request.headers.get("Range")
    if given is None or not _is_current(request.headers.get("If-Range"), etag):
        return None
    unit, _, text = given.partition("=")
    found = [_RANGE.fullmatch(part) for part in text.split(",") if part.strip()]
    if unit.strip().lower() != "bytes" or not found:
        return None
    parsed = []
    for match in found:
        if match is None or _is_reversed(match):
            return None
        parsed.append(_resolved(match, size))
    chosen = next((part for part in parsed if part.length > 0), None)
    if chosen is None:
        raise ApiError(
            "range_not_satisfiable",
            f"The range is behind the end of the video, which has {size} bytes. Ask for bytes below that.",
            {"Content-Range": f"bytes */{size}"},
        )
    return chosen


def _is_current(if_range: str | None, etag: str) -> bool:
    # A date never matches: the file has no Last-Modified. Neither does a weak ETag (section 13.1.5).
    return if_range is None or if_range.strip() == f'"{etag}"'


def _number(text: str) -> int:
    return int(text) if len(text) <= _DIGITS else 10**_DIGITS


def _is_reversed(match: re.Match[str]) -> bool:
    return bool(match[2]) and _number(match[2]) < _number(match[1])


def _resolved(match: re.Match[str], size: int) -> ByteRange:
    first, last, suffix = match.groups()
    if suffix is not None:
        return ByteRange(max(0, size - _number(suffix)), size, size)
    end = min(_number(last) + 1, size) if last else size
    return ByteRange(_number(first), max(end, 0), size)
