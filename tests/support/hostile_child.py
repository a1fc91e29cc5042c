"""A child process that does what a test tells it instead of the pipeline: sends bytes, prints, hangs, ends.

    python hostile_child.py PLAN REQUEST_FD REPLY_FD ...

PLAN is a file with a JSON list of steps, each a name and a text in hexadecimal. The step `task` waits for
the next task.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import struct
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

Step = tuple[str, bytes]

_BLOCK = 4096


def main(plan: str, request_fd: int, reply_fd: int) -> None:
    """Carries out the plan, and ends after a minute if nobody ends it."""
    signal.alarm(60)
    steps: dict[str, Callable[[bytes], object]] = {
        "task": lambda _: os.read(request_fd, struct.unpack(">I", os.read(request_fd, 4))[0]),
        "send": lambda text: _write(reply_fd, text),
        "print": lambda text: _write(2, text),
        "send for ever": lambda text: _write_for_ever(reply_fd, text),
        "print for ever": lambda text: _write_for_ever(2, text),
        "close replies": lambda _: os.close(reply_fd),
        "close output": lambda _: os.closerange(1, 3),
        "clog": lambda _: _clog(request_fd),
        "hang": lambda _: signal.pause(),
        "die": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    }
    for name, text in json.loads(Path(plan).read_text()):
        steps[name](bytes.fromhex(text))


def instead_of_the_pipeline(folder: Path, plans: Sequence[Sequence[Step]]) -> SimpleNamespace:
    """Returns a stand-in for `videoqueue.launch` whose processes carry out one plan each.

    The last plan repeats. Plans are written into `folder`.
    """
    left = list(plans)

    def command(_module: str, *arguments: str, readable: bool = False) -> list[str]:
        plan = left.pop(0) if len(left) > 1 else left[0]
        file = folder / f"plan-{uuid.uuid4().hex}.json"
        file.write_text(json.dumps([(name, sent.hex()) for name, sent in plan]))
        return [sys.executable, "-I", "-S", __file__, str(file), *arguments]

    return SimpleNamespace(command=command)


def _write(fd: int, text: bytes) -> None:
    while text:
        text = text[os.write(fd, text) :]


def _write_for_ever(fd: int, text: bytes) -> None:
    while True:
        _write(fd, text)


def _clog(fd: int) -> None:
    """Fills the pipe that tasks arrive on: whoever has one end of a pipe can open the other."""
    writing = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK)
    size = fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)
    for _ in range(size // _BLOCK):
        os.write(writing, bytes(_BLOCK))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
