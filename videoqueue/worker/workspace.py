"""A folder for the files of one worker process. A later process removes it if its owner was killed."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from videoqueue.errors import VideoqueueError
from videoqueue.hardening import open_private
from videoqueue.sandbox.room import remove_folder

_LOCK = ".lock"


class Workspace:
    """Makes the folder on first use, and again if it was removed. A file lock marks it. Thread-safe."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._made: Path | None = None
        self._lock = -1
        self._guard = threading.Lock()

    def folder(self) -> Path:
        """Returns the folder of this process. Making it also removes the folders of dead processes.

        Raises:
            OSError: it cannot be made now; the disk may be full.
        """
        with self._guard:
            if self._made is None or not self._made.is_dir():
                self._release()
                self._make()
            assert self._made is not None
            return self._made

    def remove(self, *, at_once: bool = False) -> None:
        """Removes the folder and releases its lock; `at_once` as in `remove_folder`."""
        with self._guard:
            if self._made is not None:
                remove_folder(self._made, at_once=at_once)
            self._release()

    def _make(self) -> None:
        self._parent.mkdir(parents=True, exist_ok=True)
        # While the parent is locked, no other process removes a folder that has no lock of its own yet.
        gate = _open_lock(self._parent)
        try:
            fcntl.flock(gate, fcntl.LOCK_EX)
            for left in self._parent.glob("worker-*"):
                _remove_if_dead(left)
            made = Path(tempfile.mkdtemp(prefix="worker-", dir=self._parent))
            self._lock = _open_lock(made)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            self._made = made
        finally:
            os.close(gate)

    def _release(self) -> None:
        self._made = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


@contextmanager
def workspace_of_command() -> Iterator[Workspace]:
    """Yields a workspace in the system's folder for temporary files, and removes all of it at the end.

    The commands of one user share a folder there: each removes what a killed one has left.

    Raises:
        VideoqueueError: another user has made that folder.
        OSError: it cannot be made.
    """
    parent = Path(tempfile.gettempdir()) / f"videoqueue-{os.geteuid()}-work"
    with suppress(FileExistsError):
        parent.mkdir(mode=0o700)
    found = parent.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise VideoqueueError(
            f"{parent} cannot be used: it is not a private folder of this user. Remove it, or set TMPDIR to "
            "a folder of your own."
        )
    workspace = Workspace(parent)
    try:
        yield workspace
    finally:
        workspace.remove(at_once=True)


def _open_lock(folder: Path) -> int:
    return open_private(folder / _LOCK)


def _remove_if_dead(folder: Path) -> None:
    try:
        lock = _open_lock(folder)
    except FileNotFoundError:
        return  # its process has removed it meanwhile
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    else:
        remove_folder(folder)
    finally:
        os.close(lock)
