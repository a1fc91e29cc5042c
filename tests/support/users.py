"""Runs test code as an ordinary user when the tests run as root."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = 0
#: The user `nobody`, whom every system has.
NOBODY = 65534
_NEW_MOUNTS, _BIND, _RECURSIVE, _PRIVATE = 0x20000, 4096, 16384, 1 << 18


def users() -> list[int]:
    """The users as whom a test runs: root and an ordinary one, or only the present one."""
    return [ROOT, NOBODY] if os.geteuid() == ROOT else [os.geteuid()]


def become(user: int, folder: Path) -> None:
    """Makes this process that user's, to whom the folder then belongs.

    The process starts again as the user, so that the kernel shows it to others of the same user.
    """
    if os.geteuid() == user:
        return
    os.chown(folder, user, user)
    open_interpreter(folder)
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    os.execv(sys.executable, [sys.executable, "-m", *_module_and_arguments()])


def open_interpreter(folder: Path) -> None:
    """Makes Python reachable for every user, for this process and those it starts.

    It may be below a folder of root's own, such as /root. That folder is covered by an empty one, in a mount
    namespace, and Python's folder is mounted in it again. Meanwhile it is mounted below `folder`.
    """
    prefix = Path(sys.base_prefix).resolve()
    closed = [parent for parent in reversed(prefix.parents) if not parent.stat().st_mode & 1]
    if not closed:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    kept = folder / "python"
    mounts = [
        (b"none", b"/", None, _RECURSIVE | _PRIVATE, None),
        (bytes(prefix), bytes(kept), None, _BIND | _RECURSIVE, None),
        (b"none", bytes(closed[0]), b"tmpfs", 0, b"mode=755"),
        (bytes(kept), bytes(prefix), None, _BIND | _RECURSIVE, None),
    ]
    if libc.unshare(_NEW_MOUNTS):
        raise OSError(ctypes.get_errno(), "unshare")
    for source, target, kind, flags, data in mounts:
        Path(os.fsdecode(target)).mkdir(parents=True, exist_ok=True)
        if libc.mount(source, target, kind, ctypes.c_ulong(flags), data):
            raise OSError(ctypes.get_errno(), f"mount {target!r}")


def _module_and_arguments() -> Iterator[str]:
    main = sys.modules["__main__"].__spec__
    assert main is not None
    yield main.name
    yield from sys.argv[1:]
