"""A folder for the files of one process: locked while it lives, removed by whoever starts after it died."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_LOCK = ".lock"


class Workspace:
    def __init__(self, parent: Path) -> None:
        """Makes a folder below `parent` and removes those that dead processes left there."""
        parent.mkdir(parents=True, exist_ok=True)
        # The lock on the parent keeps others from taking a folder just being made for a dead one's.
        gate = _open_lock(parent)
        try:
            fcntl.flock(gate, fcntl.LOCK_EX)
            for left in parent.glob("worker-*"):
                _remove_if_dead(left)
            self.path = Path(tempfile.mkdtemp(prefix="worker-", dir=parent))
            self._lock = _open_lock(self.path)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        finally:
            os.close(gate)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


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
