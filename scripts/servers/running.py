"""Server processes: started as an ordinary user, awaited, and ended."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_START_SECONDS = 60.0
_END_SECONDS = 20.0


def user() -> str:
    """Returns the user that servers run as: Postgres and PgBouncer refuse to run as root."""
    me = pwd.getpwuid(os.getuid()).pw_name
    if me != "root":
        return me
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def own(path: Path) -> Path:
    """Makes the folder, with `user` as its owner, and returns it."""
    path.mkdir(parents=True, exist_ok=True)
    if os.getuid() == 0:
        shutil.chown(path, user())
    return path


def run(command: Sequence[object], **environ: str) -> str:
    """Runs a command as `user`; returns what it writes. Ends the check if it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **environ},
        user=user() if os.getuid() == 0 else None,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"check_servers: {Path(str(command[0])).name} failed.\n{done.stderr[-2000:]}")
    return done.stdout


@contextmanager
def process(
    command: Sequence[object], log: Path, ready: Callable[[], bool], end: signal.Signals = signal.SIGTERM
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a server as `user` for the block, and waits until it is ready.

    Args:
        command: its program and options.
        log: the file for its output.
        ready: whether it serves clients.
        end: the signal that ends it. If it still runs after a while, it is killed.
    """
    with log.open("ab") as output:
        running = subprocess.Popen(
            [str(word) for word in command],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            user=user() if os.getuid() == 0 else None,
            cwd="/",
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not ready():
            if running.poll() is not None or time.monotonic() > deadline:
                text = log.read_text(errors="replace")[-2000:]
                sys.exit(f"check_servers: {Path(str(command[0])).name} did not start.\n{text}")
            time.sleep(0.1)
        yield running
    finally:
        running.send_signal(end)
        try:
            running.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def is_open(port: int) -> bool:
    """Returns whether a server listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
