"""Objects as files below one folder.

An object is written under a temporary name beside its final one, fsynced, renamed and its folder
fsynced: after `commit` it survives a power cut, before it nobody sees it (rename(2), fsync(2)).
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from videoqueue.errors import ObjectMissingError, StorageUnavailableError
from videoqueue.storage.base import (
    MISSING,
    UNAVAILABLE,
    Blocks,
    Bytes,
    Check,
    ObjectWriter,
    is_key,
    meaning_of,
    require_key,
)
from videoqueue.storage.copy import NewFile, write_all
from videoqueue.storage.file_range import FileRange

_TEMPORARY = ".part-"  # no key begins with a dot
_BLOCK = 1024 * 1024  # bytes copied at a time


class FolderStorage:
    """Keeps objects below `root`, which is made when it is missing."""

    def __init__(self, root: Path, reserve_bytes: int | None = None) -> None:
        self._root = root
        self._reserve_bytes = reserve_bytes
        self.local_folder: Path | None = root

    def open_writer(self, key: str) -> ObjectWriter:
        """Returns a writer for the object with this key. Nothing is stored yet."""
        return _FileWriter(self._root / require_key(key))

    def download(self, key: str, path: Path, check: Check) -> str:
        """Makes a new file with the bytes of an object: a hard link, which needs no space, if possible.

        Returns the SHA-256 of the file, 64 hexadecimal digits.
        """
        stored = self._root / require_key(key)
        with _translated():
            source = self._open(key)
            try:
                if _link(source, stored, path):
                    return _hash(source, path, check)
                return _copy(source, path, check, self._reserve_bytes)
            finally:
                os.close(source)

    def open_range(self, key: str, start: int, length: int) -> Blocks:
        """Returns an opened part of an object. The caller closes it."""
        with _translated():
            return FileRange(self._open(key), start, length)

    def _open(self, key: str) -> int:
        try:
            return os.open(self._root / require_key(key), os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            self._require_root()
            raise ObjectMissingError(MISSING) from None

    def delete(self, key: str) -> None:
        with _translated():
            try:
                (self._root / require_key(key)).unlink()
            except FileNotFoundError:
                self._require_root()

    def exists(self, key: str) -> bool:
        """Returns True when there is an object with this key."""
        with _translated():
            try:
                return stat.S_ISREG(os.lstat(self._root / require_key(key)).st_mode)
            except FileNotFoundError:
                self._require_root()
                return False

    def list_older_than(self, seconds: float) -> Iterator[str]:
        """Yields the keys of objects written more than `seconds` ago, in any order."""
        latest = time.time() - seconds
        with _translated():
            for entry in _files(self._root):
                key = Path(entry.path).relative_to(self._root).as_posix()
                if is_key(key) and _written_before(entry, latest):
                    yield key

    def remove_stale(self, seconds: float) -> int:
        """Removes unfinished files that were last written more than `seconds` ago. Returns their number."""
        latest = time.time() - seconds
        removed = 0
        with _translated():
            for entry in _files(self._root):
                if entry.name.startswith(_TEMPORARY) and _written_before(entry, latest):
                    Path(entry.path).unlink(missing_ok=True)
                    removed += 1
        return removed

    def check(self) -> None:
        """Makes the folder when it is missing, then writes and removes a file of one byte."""
        with _translated():
            _make_folder(self._root)
        with _FileWriter(self._root / "check") as probe:
            probe.write(b"\0")

    def _require_root(self) -> None:
        """A folder that is gone (a disk not mounted) must not make every object look deleted."""
        if not self._root.is_dir():
            raise StorageUnavailableError(UNAVAILABLE)


class _FileWriter:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(_TEMPORARY + secrets.token_hex(16))
        self._file = -1

    def __enter__(self) -> _FileWriter:
        with _translated():
            _make_folder(self._path.parent)
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
        with _translated():
            write_all(self._file, data)

    def commit(self) -> None:
        self._require_open()
        with _translated():
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
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise meaning_of(error) from error


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


def _make_folder(folder: Path) -> None:
    """Makes the folder and its parents so that they survive a power cut; other users may not look in."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Makes new and removed names in the folder survive a power cut (fsync(2))."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
