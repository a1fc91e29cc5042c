"""Ties a process to its parent, so that `kill -9` of the parent leaves nothing behind.

Two uses: a Python child calls `die_with_parent()`; any other program is started through
`python parent_death.py PARENT_PID COMMAND...`, which ties itself and then becomes the command (the tie
survives execve; prctl(2), PR_SET_PDEATHSIG). It is run by its path, so it imports the standard library only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int) -> None:
    """Has the kernel SIGKILL this process when the thread that started it ends.

    `parent_pid` is the pid of the expected parent, taken before the start: when it is gone already,
    this process exits at once. Only Linux knows the call; elsewhere it has no effect.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:
        os._exit(1)


def tied_to_parent(command: list[str]) -> list[str]:
    """The command line that runs `command` tied to the calling process."""
    return [sys.executable, "-P", __file__, str(os.getpid()), *command]


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    try:
        os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - becoming another program is the purpose
    except OSError as error:
        sys.exit(f"{sys.argv[2]} cannot be started: {error.strerror}")
