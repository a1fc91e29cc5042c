"""Ends a process together with its parent, also if the parent is killed with SIGKILL.

A Python child calls `die_with_parent()`. Any other program is started as `python parent_death.py PARENT_PID
COMMAND...`, which calls it and then becomes the command; execve(2) keeps the setting (prctl(2),
PR_SET_PDEATHSIG). This file is run by its path, so it imports the standard library only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int) -> None:
    """Makes the kernel send SIGKILL to this process when the thread that started it ends. Linux only.

    Args:
        parent_pid: the pid of the parent, determined before the start. If it is not the parent any more, this
            process exits at once.

    Raises:
        OSError: the kernel refused.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:
        os._exit(1)


def tied_to_parent(command: list[str]) -> list[str]:
    """Returns the command line that runs `command` and ends with the calling process."""
    return [sys.executable, "-P", __file__, str(os.getpid()), *command]


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    try:
        os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - becoming another program is the purpose
    except OSError as error:
        sys.exit(f"{sys.argv[2]} cannot be started: {error.strerror}")
