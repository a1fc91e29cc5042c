"""The limit on all temporary files of a child together.

The kernel has none for an ordinary user: RLIMIT_FSIZE is for one file. So a thread of the worker looks at the
scratch folder from time to time, and ends a child that has written too much.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

#: What a file or folder takes at least: a block. It also limits their number.
LEAST_BYTES: Final = 4096
#: Seconds between two looks, and at least so many times as long as a look takes.
_LOOK_SECONDS: Final = 0.5
_LOOK_SHARE: Final = 10
#: What the kernel says of a folder or link that only a hostile process makes: closed to its owner, or with a
#: path that is longer than any call takes.
_UNREADABLE: Final = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP)
#: The longest list of mapped files that is read, bytes; the kernel allows 65,530 of them by default.
_MAX_MAPS: Final = 8 * 1024**2
_DELETED: Final = b" (deleted)"


class ScratchWatch:
    """Looks at the files of a child until it is closed, or they are too large.

    Args:
        folder: the scratch folder.
        pid: the process id of the child.
        most: bytes that its files may have together.
        file_bytes: bytes that one file may have.
        too_large: called once, by a thread, when the files are too large.

    Attributes:
        is_exceeded: whether they were too large.
    """

    def __init__(
        self, folder: Path, pid: int, most: int, file_bytes: int, too_large: Callable[[], None]
    ) -> None:
        self._folder = os.path.realpath(folder)
        self._pid, self._most, self._file_bytes = pid, most, file_bytes
        self._too_large = too_large
        self._closed = threading.Event()
        self.is_exceeded = False
        self._thread = threading.Thread(target=self._watch, name="scratch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread. After it, `too_large` is not called."""
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        pause = _LOOK_SECONDS
        while not self._closed.wait(pause):
            began = time.monotonic()
            if self._is_too_large():
                self.is_exceeded = True
                self._too_large()
                return
            pause = max(_LOOK_SECONDS, _LOOK_SHARE * (time.monotonic() - began))

    def _is_too_large(self) -> bool:
        total = 0
        try:
            for size in used_bytes(self._folder, self._pid, self._file_bytes):
                total += size
                if total > self._most or self._closed.is_set():
                    break
        except OSError as error:
            return error.errno in _UNREADABLE
        return total > self._most


def used_bytes(folder: str, pid: int, file_bytes: int) -> Iterator[int]:
    """Yields the size of each file and folder of a child, in bytes; of deleted files while it uses them.

    A folder counts as one more for each folder that it is in, so that the depth is limited too.

    Args:
        folder: the scratch folder, without symbolic links in its path.
        pid: the process id of the child.
        file_bytes: the size that a deleted file counts as whose size cannot be found out.

    Raises:
        OSError: a folder cannot be read.
    """
    yield from _in_folder(folder)
    prefix = os.fsencode(folder) + b"/"
    found: set[int] = set()
    yield from _open_files(pid, prefix, found)
    for inode in _mapped_files(pid, prefix) - found:
        if inode:
            yield file_bytes


def _in_folder(folder: str) -> Iterator[int]:
    folders = [(folder, 1)]
    while folders:
        path, depth = folders.pop()
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(path) as entries:
            for entry in entries:
                try:
                    size, is_folder = (
                        _size(entry.stat(follow_symlinks=False)),
                        entry.is_dir(follow_symlinks=False),
                    )
                except FileNotFoundError:
                    continue  # the child has removed it meanwhile
                yield max(size, LEAST_BYTES * depth) if is_folder else size
                if is_folder:
                    folders.append((entry.path, depth + 1))


def _size(found: os.stat_result) -> int:
    """Returns the size of a file. Some file systems report no blocks, and sparse files have few."""
    return max(LEAST_BYTES, found.st_size, 512 * found.st_blocks)


def _open_files(pid: int, prefix: bytes, found: set[int]) -> Iterator[int]:
    """Yields the size of each deleted file that the process has open, and adds its inode to `found`."""
    with suppress(FileNotFoundError, PermissionError, ProcessLookupError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                file = link.stat()
                if file.st_nlink or not stat.S_ISREG(file.st_mode) or file.st_ino in found:
                    continue
                if os.fsencode(link.readlink()).startswith(prefix):
                    found.add(file.st_ino)
                    yield _size(file)


def _mapped_files(pid: int, prefix: bytes) -> set[int]:
    """Returns the inodes of deleted files in the memory of the process; see maps in proc(5).

    Raises:
        OSError: there are more than any process needs.
    """
    try:
        with Path(f"/proc/{pid}/maps").open("rb") as maps:
            text = maps.read(_MAX_MAPS + 1)
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return set()
    if len(text) > _MAX_MAPS:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    lines = (line.split(maxsplit=5) for line in text.split(b"\n") if line.endswith(_DELETED))
    return {int(parts[4]) for parts in lines if parts[5].startswith(prefix)}
