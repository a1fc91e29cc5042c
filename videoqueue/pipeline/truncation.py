"""What can be read of a file that is cut off.

FFmpeg ends quietly where a file ends: a recording cut inside a fragment would pass for a shorter one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import SEEK_END, SEEK_SET, RawIOBase
from pathlib import Path
from typing import BinaryIO, cast

from videoqueue.errors import InvalidVideoError


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


def cut_off(how: str) -> InvalidVideoError:
    return InvalidVideoError("truncated_mp4", f"The video is cut off: {how}. Submit the complete file.")
