"""A folder for the files of one process: locked while it lives, removed by whoever starts after it died."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import threading
from pathlib import Path

_LOCK = ".lock"


class Workspace:
    """Made when it is first needed, and again when something has removed it. Safe for several threads."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._made: Path | None = None
        self._lock = -1
        self._turn = threading.Lock()

    def folder(self) -> Path:
        """The folder of this process, below the parent.

        When it makes the folder, it also removes those that dead processes left there.

        Raises:
            OSError: it cannot be made now; the disk may be full.
        """
        with self._turn:
            if self._made is None or not self._made.is_dir():
                self._release()
                self._make()
            assert self._made is not None
            return self._made

    def remove(self) -> None:
        with self._turn:
            if self._made is not None:
                shutil.rmtree(self._made, ignore_errors=True)
            self._release()

    def _make(self) -> None:
        self._parent.mkdir(parents=True, exist_ok=True)
        # The lock on the parent keeps others from taking a folder just being made for a dead one's.
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


def _open_lock(folder: Path) -> int:
    return os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _remove_if_dead(folder: Path) -> None:
    try:
        lock = _open_lock(folder)
    except FileNotFoundError:
        return  # its process is just removing it
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    else:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
