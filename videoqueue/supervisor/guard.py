"""The guard: a small process that survives a killed supervisor and kills the processes that it had started.

It runs this file by its path, so the file imports the standard library only.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress


class Guard:
    """A small process that notices the end of this one and kills the process groups it has been given.

    Args:
        environ: its whole environment. Other processes of the same user can read it.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = dict(environ)
        self._groups: set[int] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self._start_at = 0.0

    def keep_alive(self) -> None:
        """Starts the guard if it does not run, at most once a second."""
        now = time.monotonic()
        if (self._process and self._process.poll() is None) or now < self._start_at:
            return
        self.close()
        self._start_at = now + 1
        quiet = subprocess.DEVNULL
        with suppress(OSError):
            # By path and with -P, so that it imports neither this package nor from the working directory.
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, *map(str, self._groups)],
                stdin=subprocess.PIPE,
                stdout=quiet,
                stderr=quiet,
                env=self._environ,
                bufsize=0,
                start_new_session=True,
            )

    def add(self, group: int) -> None:
        """Adds a process group to those that the guard kills."""
        self._groups.add(group)
        self._tell(f"+{group}\n")

    def remove(self, group: int) -> None:
        """Removes a process group that has ended."""
        self._groups.discard(group)
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """Ends the guard; it kills nothing."""
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _tell(self, lines: str) -> None:
        if self._process and self._process.stdin:
            with suppress(BrokenPipeError):  # the guard is dead; its successor is started with all groups
                self._process.stdin.write(lines.encode())


def kill_group(group: int) -> None:
    """Sends SIGKILL to a process group, if there is one."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def main() -> None:
    """Reads `+GROUP` and `-GROUP` lines until the pipe is closed, then kills the groups."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups = set(map(int, sys.argv[1:]))
    for line in sys.stdin:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    for group in groups:
        kill_group(group)


if __name__ == "__main__":
    main()
