"""Objects as files below one folder."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from videoqueue.errors import ObjectMissingError, StorageUnavailableError
from videoqueue.storage.base import MISSING, UNAVAILABLE, Blocks, Check, ObjectWriter, is_key, require_key
from videoqueue.storage.copy import NewFile
from videoqueue.storage.file_range import FileRange
from videoqueue.storage.file_writer import TEMPORARY, FileWriter, make_folder, translated

_BLOCK = 1024 * 1024  # bytes copied at a time


class FolderStorage:
    """Keeps objects below `root`, which is made when it is missing."""

    def __init__(self, root: Path, reserve_bytes: int | None = None) -> None:
        self._root = root
        self._reserve_bytes = reserve_bytes
        self.local_folder: Path | None = root

    def open_writer(self, key: str) -> ObjectWriter:
        """Returns a writer for the object with this key. Nothing is stored yet."""
        return FileWriter(self._root / require_key(key))

    def download(self, key: str, path: Path, check: Check) -> str:
        """Makes a new file with the bytes of an object: a hard link, which needs no space, if possible.

        Returns the SHA-256 of the file, 64 hexadecimal digits.
        """
        stored = self._root / require_key(key)
        with translated():
            source = self._open(key)
            try:
                if _link(source, stored, path):
                    return _hash(source, path, check)
                return _copy(source, path, check, self._reserve_bytes)
            finally:
                os.close(source)

    def open_range(self, key: str, start: int, length: int) -> Blocks:
        """Returns an opened part of an object. The caller closes it."""
        with translated():
            return FileRange(self._open(key), start, length)

    def _open(self, key: str) -> int:
        try:
            return os.open(self._root / require_key(key), os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            self._require_root()
            raise ObjectMissingError(MISSING) from None

    def delete(self, key: str) -> None:
        with translated():
            try:
                (self._root / require_key(key)).unlink()
            except FileNotFoundError:
                self._require_root()

    def exists(self, key: str) -> bool:
        """Returns True when there is an object with this key."""
        with translated():
            try:
                return stat.S_ISREG(os.lstat(self._root / require_key(key)).st_mode)
            except FileNotFoundError:
                self._require_root()
                return False

    def list_older_than(self, seconds: float) -> Iterator[str]:
        """Yields the keys of objects written more than `seconds` ago, in any order."""
        latest = time.time() - seconds
        with translated():
            for entry in _files(self._root):
                key = Path(entry.path).relative_to(self._root).as_posix()
                if is_key(key) and _written_before(entry, latest):
                    yield key

    def remove_stale(self, seconds: float) -> int:
        """Removes unfinished files that were last written more than `seconds` ago. Returns their number."""
        latest = time.time() - seconds
        removed = 0
        with translated():
            for entry in _files(self._root):
                if entry.name.startswith(TEMPORARY) and _written_before(entry, latest):
                    Path(entry.path).unlink(missing_ok=True)
                    removed += 1
        return removed

    def check(self) -> None:
        """Makes the folder when it is missing, then writes and removes a file of one byte."""
        with translated():
            make_folder(self._root)
        with FileWriter(self._root / "check") as probe:
            probe.write(b"\0")

    def _require_root(self) -> None:
        """A folder that is gone (a disk not mounted) must not make every object look deleted."""
        if not self._root.is_dir():
            raise StorageUnavailableError(UNAVAILABLE)


def _files(folder: Path | str) -> Iterator[os.DirEntry[str]]:
    """Every file below the folder, one at a time; symbolic links are left alone."""
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        return  # nothing has been stored there yet
    with entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path)
            elif entry.is_file(follow_symlinks=False):
                yield entry


def _written_before(entry: os.DirEntry[str], latest: float) -> bool:
    try:
        return entry.stat(follow_symlinks=False).st_mtime < latest
    except FileNotFoundError:
        return False  # deleted or renamed meanwhile


def _link(source: int, stored: Path, path: Path) -> bool:
    """Makes `path` a hard link to the open file `source`, which was at `stored`. Returns whether it could.

    Another file system or its rules can prevent it (link(2)), or an object that was replaced meanwhile.
    """
    try:
        os.link(stored, path, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        return False
    if os.path.samestat(os.fstat(source), os.lstat(path)):
        return True
    path.unlink()
    return False


def _hash(source: int, path: Path, check: Check) -> str:
    """Returns the SHA-256 of the open file `source`. If that fails, its link `path` is removed."""
    digest = hashlib.sha256()
    try:
        while block := os.read(source, _BLOCK):
            check()
            digest.update(block)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return digest.hexdigest()


def _copy(source: int, path: Path, check: Check, reserve_bytes: int | None) -> str:
    with NewFile(path, reserve_bytes) as file:
        while block := os.read(source, _BLOCK):
            check()
            file.write(block)
    return file.sha256()
