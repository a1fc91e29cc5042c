"""What a file that was cut off still holds, by its boxes; and why a file cannot be opened, without FFmpeg.

FFmpeg ends quietly where a file ends: a recording cut inside a fragment would pass for a shorter one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from io import SEEK_END, SEEK_SET, RawIOBase
from pathlib import Path
from typing import BinaryIO, cast

from videoqueue.errors import InvalidVideoError

# Reading so many headers takes about a second; a real file has some hundred.
_MOST_BOXES = 500_000
_MOST_HEADER_BYTES = 16 * 1024 * 1024


@contextmanager
def readable_part(file: Path, size: int) -> Iterator[str | BinaryIO]:
    """What FFmpeg is to open for the first `size` bytes of a file: its path when that is all of it.

    FFmpeg would look into a fragment that is cut off, and may then refuse the whole file.
    """
    if size == file.stat().st_size:
        yield str(file)
        return
    with file.open("rb") as stream:
        yield cast(BinaryIO, _Beginning(stream, size))


class _Beginning(RawIOBase):
    """A file that ends early."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._size = size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, count: int = -1) -> bytes:
        left = max(0, self._size - self._stream.tell())
        return self._stream.read(left if count < 0 else min(count, left))

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        if whence == SEEK_END:
            return self._stream.seek(self._size + offset)
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()


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
