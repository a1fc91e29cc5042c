"""Finds the service's processes, and tells what each is."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil


def running_from(folder: Path) -> list[psutil.Process]:
    """Every process whose program lies in the folder, however it came to be an orphan; no zombies."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, IndexError):
            if process.cmdline()[0].startswith(str(folder)) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def is_child(process: psutil.Process) -> bool:
    """Whether it reads videos for a worker."""
    return _runs(process, "videoqueue.sandbox.child")


def child_of(worker: psutil.Process) -> psutil.Process | None:
    """The process in which this worker process reads its video."""
    return next(filter(is_child, worker.children()), None)


def first_below(leader: psutil.Process, command: str) -> psutil.Process | None:
    """The process that this gunicorn or dramatiq master has made to do its work."""
    return next((process for process in leader.children() if _runs(process, command)), None)


def _runs(process: psutil.Process, command: str) -> bool:
    with suppress(psutil.Error):
        return any(command in word for word in process.cmdline())
    return False
