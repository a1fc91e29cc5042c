"""The size of all temporary files of a child, those included that it has deleted and still uses."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

#: What a file or folder takes at least: a block. It also limits their number.
LEAST_BYTES: Final = 4096
#: What the kernel says of a folder or link that only a hostile process makes: closed to its owner, or with a
#: path that is longer than any call takes.
UNREADABLE: Final = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP)
#: The longest list of mapped files that is read, bytes; the kernel allows 65,530 of them by default.
_MAX_MAPS: Final = 8 * 1024**2
_DELETED: Final = b" (deleted)"


def used_bytes(folder: str, pid: int, file_bytes: int) -> Iterator[int]:
    """Yields the size of each file and folder of a child, in bytes; of deleted files while it uses them.

    A folder counts as one more for each folder that it is in, so that the depth is limited too.

    Args:
        folder: the scratch folder, without symbolic links in its path.
        pid: the process id of the child.
        file_bytes: the size that a deleted file counts as whose size cannot be found out.

    Raises:
        OSError: a folder cannot be read; with a number of `UNREADABLE`, the child has made it so.
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
