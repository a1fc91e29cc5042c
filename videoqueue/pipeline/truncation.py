"""Tells a file that was cut off, or why it cannot be opened, by its outermost boxes, without FFmpeg.

FFmpeg ends quietly where a file ends: a recording cut inside a fragment, behind its last picture, would pass
for a shorter one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from videoqueue.errors import InvalidVideoError

# Behind the last of these, files carry all kinds of trailers, whose first bytes must not be taken for a box.
_BOXES_WITH_CONTENT = (b"moov", b"moof", b"mdat")
# Reading so many headers takes about a second; a real file has some hundred.
_MOST_BOXES = 500_000
_MOST_HEADER_BYTES = 16 * 1024 * 1024


def check_whole(file: Path) -> int:
    """Returns the file's size in bytes when its outermost boxes all lie inside it.

    Raises:
        InvalidVideoError: the file is empty (`file_empty`) or ends inside a box (`truncated_mp4`).
        OSError: the file is missing or cannot be read.
    """
    size = file.stat().st_size
    if size == 0:
        raise InvalidVideoError("file_empty", "The file is empty: 0 bytes. Submit the video itself.")
    with file.open("rb") as stream:
        for kind, position, length in _outermost(stream, size):
            if kind in _BOXES_WITH_CONTENT and position + length > size:
                raise cut_off(f"it has {size} bytes, and its parts claim at least {position + length}")
    return size


def mentions_encryption(file: Path) -> bool:
    """Whether the header names encrypted pictures (ISO/IEC 23001-7). For a file that cannot be opened anyway:
    it looks for the bytes alone.
    """
    with file.open("rb") as stream:
        for kind, position, length in _outermost(stream, file.stat().st_size):
            if kind == b"moov":
                stream.seek(position)
                return b"encv" in stream.read(min(length, _MOST_HEADER_BYTES))
    return False


def cut_off(how: str) -> InvalidVideoError:
    return InvalidVideoError("truncated_mp4", f"The video is cut off: {how}. Submit the complete file.")


def _header(data: bytes) -> tuple[int, bytes]:
    """Length in bytes, header included, and kind of a box; length 0: it lasts to the end, or is no box."""
    if len(data) < 8:
        return 0, b""
    length, kind = struct.unpack_from(">I4s", data)
    if length == 1 and len(data) == 16:
        length = struct.unpack_from(">Q", data, 8)[0]
    return length, kind


def _outermost(stream: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, position and length of each outermost box."""
    position = 0
    for _ in range(_MOST_BOXES):
        stream.seek(position)
        length, kind = _header(stream.read(16))
        yield kind, position, length
        position += length
        if length < 8 or position >= size:
            return
