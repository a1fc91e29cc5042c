"""The folders of one child: a scratch folder, and one for the videos of its tasks. The worker removes both.

A child may fill its scratch folder with anything that a file system allows, so nothing in it is trusted: no
link is followed, and no depth of folders stops the removal.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import threading
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

#: Entries that are removed while a job waits for it. 1,000 take less than a tenth of a second.
MAX_ENTRIES: Final = 1000
#: Levels of folders that are removed while their child lives; each takes a file descriptor of the worker.
MAX_DEPTH: Final = 16
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Room:
    """Two empty folders below a new one in `parent`.

    Args:
        parent: an existing folder, in the file system of the videos: a video is linked, never copied.
        first: the video of the first task.

    Attributes:
        inputs: the paths that the child may read: the folder of its videos. Where the first video cannot be
            linked, also the path of that video. Landlock then keeps the file, also after its deletion, until
            the child ends. So such a child serves one task.
    """

    def __init__(self, parent: Path, first: str) -> None:
        """Makes the folders. OSError: they cannot be made; the disk may be full."""
        self._folder = Path(tempfile.mkdtemp(prefix="child-", dir=parent)).absolute()
        self._input = self._folder / "input"
        self.scratch = self._folder / "scratch"
        try:
            self._input.mkdir(mode=0o700)
            self.scratch.mkdir(mode=0o700)
        except OSError:
            self.remove()
            raise
        self.inputs: tuple[str, ...] = (str(self._input),)
        self._next: str | None
        try:
            self._next = self._linked(first)
        except OSError:
            self._next = first
            self.inputs = (first, *self.inputs)

    def admit(self, video: str) -> str:
        """Makes a video readable for the child. The first call is for the video of the first task.

        Returns:
            Its path for the child.

        Raises:
            OSError: the video can only be read by a new child: its file system has no hard links, or the
                folder is gone.
        """
        if self._next is not None:
            path, self._next = self._next, None
            return path
        return self._linked(video)

    def _linked(self, video: str) -> str:
        link = self._input / f"{uuid.uuid4().hex}.mp4"
        os.link(os.path.realpath(video), link)  # of a symbolic link, its target
        return str(link)

    def clear(self) -> None:
        """Empties both folders while the child lives.

        Raises:
            OSError: something in the scratch folder cannot be removed, it has more than `MAX_ENTRIES` entries
                or `MAX_DEPTH` folders in one another, or the child keeps its video. End the child, and call
                `remove`.
        """
        if len(self.inputs) > 1:
            raise OSError("The video could not be linked. The child would keep it after its deletion.")
        left = MAX_ENTRIES
        for folder in (self._input, self.scratch):
            fd = os.open(folder, _FOLDER)
            left = _emptied(fd, left, MAX_DEPTH)

    def remove(self) -> None:
        """Removes everything, after the child has ended; see `remove_folder`."""
        remove_folder(self._folder)


def remove_folder(folder: Path, *, at_once: bool = False) -> None:
    """Removes a folder that a hostile process has filled and that no process uses now; errors are ignored.

    A thread removes what exceeds `MAX_ENTRIES`, so that the caller does not wait. The thread does not keep
    the process from ending. The next process with a `Workspace` in the same place removes what is then left.

    Args:
        folder: the folder.
        at_once: whether the caller waits until everything is removed.
    """
    steps = _removal(folder)
    if at_once:
        deque(steps, 0)
        return
    if sum(1 for _ in islice(steps, MAX_ENTRIES)) == MAX_ENTRIES:
        threading.Thread(target=deque, args=(steps, 0), name="removal", daemon=True).start()


def _emptied(folder: int, left: int, depth: int) -> int:
    """Removes what is in an open folder, in which a process may still write, and closes it.

    Returns:
        How many more entries may be removed.

    Raises:
        OSError: an entry cannot be removed, or there are more than `left`, or more than `depth` levels.
    """
    try:
        with os.scandir(folder) as entries:
            found = list(islice(entries, left + 1))
        left -= len(found)
        if left < 0 or not depth:
            raise OSError(errno.E2BIG, f"more than {MAX_ENTRIES} files, or {MAX_DEPTH} levels of folders")
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                left = _emptied(os.open(entry.name, _FOLDER, dir_fd=folder), left, depth - 1)
                os.rmdir(entry.name, dir_fd=folder)
            else:
                os.unlink(entry.name, dir_fd=folder)
        return left
    finally:
        os.close(folder)


def _removal(folder: Path) -> Iterator[None]:
    """Removes a folder and yields after each entry.

    Folders inside may be closed (mode 0), or nested so deep that no path reaches the innermost one: of each,
    the folders in it are moved up, and it is removed. Only a part of the names is in memory.
    """
    if folder.is_symlink():
        with suppress(OSError):
            folder.unlink()
        return
    has_removed = True
    while has_removed:
        has_removed = False
        for entry in _entries(folder):
            is_folder = _is_folder(entry)
            for inner in _entries(entry) if is_folder else ():
                with suppress(OSError):
                    _move_or_remove(inner, folder)
                    has_removed = True
                yield
            with suppress(OSError):
                entry.rmdir() if is_folder else entry.unlink()
                has_removed = True
            yield
    with suppress(OSError):
        folder.rmdir()


def _entries(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        folder.chmod(0o700)
        with os.scandir(folder) as entries:
            for entry in entries:
                yield Path(entry.path)


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def _move_or_remove(path: Path, folder: Path) -> None:
    if _is_folder(path):
        path.chmod(0o700)  # a folder that is closed cannot be moved
        path.rename(folder / uuid.uuid4().hex)
    else:
        path.unlink()
