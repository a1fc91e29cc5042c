"""The guard: a small process that outlives a killed supervisor just long enough to end what it had started.

It runs this file by its path, so it imports the standard library only.
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
    """A small process that sees this one end, by whatever means, and kills the groups it was told of.

    `environ` is its whole environment, which others of the same user can read.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = dict(environ)
        self._groups: set[int] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self._start_at = 0.0

    def keep_alive(self) -> None:
        now = time.monotonic()
        if (self._process and self._process.poll() is None) or now < self._start_at:
            return
        self.close()
        self._start_at = now + 1
        quiet = subprocess.DEVNULL
        with suppress(OSError):
            # By file and with -P: neither this package's __init__ nor the working directory is imported from.
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
        self._groups.add(group)
        self._tell(f"+{group}\n")

    def remove(self, group: int) -> None:
        self._groups.discard(group)
        self._tell(f"-{group}\n")

    def close(self) -> None:
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _tell(self, lines: str) -> None:
        if self._process and self._process.stdin:
            with suppress(BrokenPipeError):  # the one that replaces a dead guard is told of all groups
                self._process.stdin.write(lines.encode())


def kill_group(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups = set(map(int, sys.argv[1:]))
    for line in sys.stdin:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    for group in groups:
        kill_group(group)


if __name__ == "__main__":
    main()
