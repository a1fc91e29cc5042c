"""Writes one object as a file.

An object is written under a temporary name beside its final one, fsynced, renamed and its folder
fsynced: after `commit` it survives a power cut, before it nobody sees it (rename(2), fsync(2)).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from videoqueue.storage.base import Bytes, meaning_of
from videoqueue.storage.copy import write_all

#: The beginning of the name of an unfinished file. No key begins with a dot.
TEMPORARY = ".part-"


class FileWriter:
    """Writes one file below the folder of the storage."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(TEMPORARY + secrets.token_hex(16))
        self._file = -1

    def __enter__(self) -> FileWriter:
        with translated():
            make_folder(self._path.parent)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            self._file = os.open(self._temporary, flags, 0o600)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file < 0:
            return
        # What cannot be removed now is left to remove_stale: the caller's own error matters more.
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)
        with suppress(OSError):
            self._close()

    def write(self, data: Bytes) -> None:
        self._require_open()
        with translated():
            write_all(self._file, data)

    def commit(self) -> None:
        self._require_open()
        with translated():
            os.fsync(self._file)
            self._temporary.replace(self._path)
            self._close()
            sync_folder(self._path.parent)

    def _require_open(self) -> None:
        if self._file < 0:
            raise ValueError("the writer is not open")

    def _close(self) -> None:
        file, self._file = self._file, -1
        os.close(file)


@contextmanager
def translated() -> Iterator[None]:
    """Raises an error of the system as what it means for the storage."""
    try:
        yield
    except OSError as error:
        raise meaning_of(error) from error


def make_folder(folder: Path) -> None:
    """Makes the folder and its parents so that they survive a power cut; other users may not look in."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Makes new and removed names in the folder survive a power cut (fsync(2))."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
