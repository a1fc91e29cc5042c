"""What a child uses and no limit of the kernel covers: all its temporary files together, and shared memory.

RLIMIT_FSIZE is for one file, and RLIMIT_DATA does not count memory that a process could share. So a thread of
the worker looks from time to time, and ends a child that uses too much. It also looks between two tasks.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, TypeAlias

from videoqueue.sandbox.limits import SandboxLimits, data_bytes, shared_bytes
from videoqueue.sandbox.scratch import UNREADABLE, used_bytes

Excess: TypeAlias = Literal["files", "memory"]

#: Seconds between two looks, and at least so many times as long as a look takes.
_LOOK_SECONDS: Final = 0.5
_LOOK_SHARE: Final = 10


class Watch:
    """Looks at a child until it is closed, or the child uses too much.

    Args:
        folder: the scratch folder of the child.
        pid: its process id.
        limits: its limits.
        end: called once, by a thread, when the child uses too much.

    Attributes:
        excess: what it used too much of; None as long as that is nothing.
    """

    def __init__(self, folder: Path, pid: int, limits: SandboxLimits, end: Callable[[], None]) -> None:
        self._folder = os.path.realpath(folder)
        self._pid, self._limits, self._end = pid, limits, end
        self._closed = threading.Event()
        self.excess: Excess | None = None
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread. After it, `end` is not called."""
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        pause = _LOOK_SECONDS
        while not self._closed.wait(pause):
            began = time.monotonic()
            self.excess = self._look()
            if self.excess is not None:
                self._end()
                return
            pause = max(_LOOK_SECONDS, _LOOK_SHARE * (time.monotonic() - began))

    def _look(self) -> Excess | None:
        shared = shared_bytes(self._pid)
        if shared and shared + data_bytes(self._pid) > self._limits.memory_bytes:
            return "memory"
        return "files" if self._has_too_large_files() else None

    def _has_too_large_files(self) -> bool:
        total, most = 0, self._limits.scratch_bytes
        try:
            for size in used_bytes(self._folder, self._pid, self._limits.file_bytes):
                total += size
                if total > most or self._closed.is_set():
                    break
        except OSError as error:
            return error.errno in UNREADABLE
        return total > most
