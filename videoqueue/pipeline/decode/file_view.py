"""A view of a file for FFmpeg: the whole file, its beginning, or the file with some bytes replaced."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import SEEK_END, SEEK_SET, RawIOBase
from pathlib import Path
from typing import BinaryIO, cast


@contextmanager
def file_view(file: Path, size: int, patches: Mapping[int, bytes]) -> Iterator[str | BinaryIO]:
    """Yields what FFmpeg opens to read the first `size` bytes: the path when that is the whole file.

    FFmpeg reads a fragment that is cut off and may then refuse the whole file.

    Args:
        file: The file.
        size: Bytes that FFmpeg may read.
        patches: Bytes, by position, that replace the file's own. The later position counts where two overlap.
    """
    if size == file.stat().st_size and not patches:
        yield str(file)
        return
    with file.open("rb") as stream:
        yield cast(BinaryIO, _View(stream, size, patches))


class _View(RawIOBase):
    """A file that ends early, or has some bytes replaced."""

    def __init__(self, stream: BinaryIO, size: int, patches: Mapping[int, bytes]) -> None:
        self._stream = stream
        self._size = size
        self._patches = patches
        self._places = sorted(patches)
        self._longest = max(map(len, patches.values()), default=0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, count: int = -1) -> bytes:
        start = self._stream.tell()
        left = max(0, self._size - start)
        content = self._stream.read(left if count < 0 else min(count, left))
        first = bisect_right(self._places, start - self._longest)
        last = bisect_left(self._places, start + len(content))
        for position in self._places[first:last]:
            content = _patched(content, position - start, self._patches[position])
        return content

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        if whence == SEEK_END:
            return self._stream.seek(self._size + offset)
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()


def _patched(content: bytes, at: int, patch: bytes) -> bytes:
    """The content with the patch at this place, of which a part or nothing may be in it."""
    begin, end = max(0, at), min(len(content), at + len(patch))
    if end <= begin:
        return content
    return content[:begin] + patch[begin - at : end - at] + content[end:]
