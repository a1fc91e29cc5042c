"""A part of a file, read block by block."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from videoqueue.errors import StorageUnavailableError
from videoqueue.storage.base import UNAVAILABLE, meaning_of

_BLOCK: Final = 256 * 1024


class FileRange:
    """The bytes of an open file from `start`, `length` of them; see `Blocks`. It owns the descriptor."""

    def __init__(self, descriptor: int, start: int, length: int) -> None:
        """Takes over the descriptor.

        Raises:
            StorageUnavailableError: the file is too short; the descriptor is closed.
        """
        self._descriptor = descriptor
        self._position = start
        self._end = start + length
        if os.fstat(descriptor).st_size < self._end:
            self.close()
            raise StorageUnavailableError(UNAVAILABLE)

    def __iter__(self) -> Iterator[bytes]:
        while self._position < self._end:
            try:
                block = os.pread(self._descriptor, min(_BLOCK, self._end - self._position), self._position)
            except OSError as error:
                raise meaning_of(error) from error
            if not block:
                raise StorageUnavailableError(UNAVAILABLE)
            self._position += len(block)
            yield block

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
