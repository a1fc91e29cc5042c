"""A new file that an object is copied to."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import TracebackType

from videoqueue.storage.base import Bytes
from videoqueue.storage.reserve import require_room_for_copy


class NewFile:
    """Writes a file that did not exist before and hashes what it writes. Leaving by an exception removes it.

    The file is opened exclusively: a file or a symbolic link that has its name is neither changed nor
    followed (open(2), O_EXCL).

    Raises (in the `with` statement, and by `write`):
        OSError: a file has the name already, or the system refuses.
        StorageFullError: a part of `reserve_bytes` would be used; see `require_room_for_copy`.
    """

    def __init__(self, path: Path, reserve_bytes: int | None) -> None:
        self._path = path
        self._reserve_bytes = reserve_bytes
        self._hash = hashlib.sha256()
        self._file = -1

    def __enter__(self) -> NewFile:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(self._path, flags, 0o600)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._file)
        if error is not None:
            self._path.unlink(missing_ok=True)

    def write(self, data: Bytes) -> None:
        require_room_for_copy(self._path.parent, len(data), self._reserve_bytes)
        write_all(self._file, data)
        self._hash.update(data)

    def sha256(self) -> str:
        """Returns the SHA-256 of what was written, 64 hexadecimal digits."""
        return self._hash.hexdigest()


def write_all(file: int, data: Bytes) -> None:
    """Writes all bytes; write(2) may take a part of them only."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
