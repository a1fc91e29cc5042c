"""multipart/form-data as it streams past: text fields whole, the one file in pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser

from videoqueue.api.problems import ApiError

MAX_PARTS: Final = 16
MAX_FIELD_BYTES: Final = 4096
_MAX_HEADERS: Final = 8
_MAX_HEADER_BYTES: Final = 4096
#: What a form may have besides the video.
MAX_OVERHEAD: Final = MAX_PARTS * (MAX_FIELD_BYTES + _MAX_HEADERS * _MAX_HEADER_BYTES)

HOW: Final = (
    "Send it as the form field `file` (curl -F file=@video.mp4), "
    "or as a raw body with Content-Type: video/mp4."
)


@dataclass(frozen=True)
class Field:
    name: str
    value: str


def read_form(pieces: Iterable[bytes], boundary: str) -> Iterator[Field | bytes]:
    """Fields and, in their place among them, the pieces of the field `file`.

    Raises:
        ApiError: no form, one that is too large, or one that has no file, two, or the wrong one.
    """
    try:
        reader = _FormReader(boundary)
        for piece in pieces:
            yield from reader.feed(piece)
        reader.finish()
    except ParserLimitReached:
        raise ApiError(
            "invalid_parameter",
            f"The form is too large: it takes {MAX_PARTS} parts, each with {_MAX_HEADERS} headers of "
            f"{_MAX_HEADER_BYTES} bytes at most. Send `file` and the parameters only.",
        ) from None
    except MultipartError:
        raise ApiError(
            "invalid_parameter",
            "The body is no valid multipart/form-data: its parts cannot be told apart. Send it with curl -F "
            "or a library that makes forms.",
        ) from None


class _FormReader:
    def __init__(self, boundary: str) -> None:
        self._parser = PushMultipartParser(
            boundary,
            max_header_size=_MAX_HEADER_BYTES,
            max_header_count=_MAX_HEADERS,
            max_segment_count=MAX_PARTS,
        )
        self._part: MultipartSegment | None = None
        self._value = bytearray()
        self._found = False

    def feed(self, piece: bytes) -> Iterator[Field | bytes]:
        for event in self._parser.parse(piece):
            if isinstance(event, MultipartSegment):
                self._begin(event)
            elif event is None:
                if self._part is not None:
                    yield Field(self._part.name or "", _text(self._part, self._value))
            elif self._part is None:
                yield bytes(event)
            else:
                self._value += event
                if len(self._value) > MAX_FIELD_BYTES:
                    raise _unusable(self._part, f"takes at most {MAX_FIELD_BYTES} bytes")

    def finish(self) -> None:
        self._parser.close()
        if not self._found:
            raise ApiError("file_missing", f"The form has no field `file`. {HOW}")

    def _begin(self, part: MultipartSegment) -> None:
        self._value.clear()
        is_file = part.filename is not None
        self._part = None if is_file else part
        if part.name == "file" and not is_file:
            raise ApiError("file_missing", f"The form field `file` holds text, not a file. {HOW}")
        if not is_file:
            return
        if part.name != "file":
            raise ApiError("file_missing", f"The video came under another name than `file`. {HOW}")
        if self._found:
            raise ApiError("invalid_parameter", "The form has two fields `file`. Send one video at a time.")
        self._found = True


def _text(part: MultipartSegment, value: bytearray) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise _unusable(part, "takes text in UTF-8") from None


def _unusable(part: MultipartSegment, takes: str) -> ApiError:
    name = (part.name or "")[:100]
    return ApiError("invalid_parameter", f"The form field {name!r} cannot be used: it {takes}.")
