"""Says what a plugin tried to do when a sandbox refused one of its calls.

The error of a refused call has no more than "Operation not permitted" in it. Python raises an audit event
before most such calls (PEP 578), so the last event of a thread tells which call it was.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
from collections.abc import Mapping
from typing import Final, Literal

Kind = Literal["network", "process", "signal", "read", "write", "other"]

_WORDS: Final[Mapping[Kind, str]] = {
    "network": "open a network connection",
    "process": "start a process",
    "signal": "send a signal to a process",
    "read": "read a file or folder that is closed to it",
    "write": "write or change a file outside its scratch folder",
    "other": "make a system call",
}
#: Names of audit events, or the part in front of the first dot.
_EVENTS: Final[Mapping[str, Kind]] = {
    "socket": "network",
    "subprocess": "process",
    **dict.fromkeys(("os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.system"), "process"),
    **dict.fromkeys(("os.kill", "os.killpg", "signal.pthread_kill"), "signal"),
    **dict.fromkeys(("os.listdir", "os.scandir", "os.listxattr", "os.getxattr"), "read"),
    **dict.fromkeys(("os.chmod", "os.chown", "os.link", "os.lockf", "os.mkdir", "os.remove"), "write"),
    **dict.fromkeys(("os.rename", "os.rmdir", "os.symlink", "os.truncate", "os.utime"), "write"),
    **dict.fromkeys(("os.setxattr", "os.removexattr", "os.chflags"), "write"),
}
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

_last = threading.local()
_remedies: Mapping[Kind, str] | None = None


def watch(remedies: Mapping[Kind, str]) -> None:
    """Makes `refused` explain errors from now on: this process is in a sandbox.

    Args:
        remedies: for some kinds of calls, a sentence for the operator.
    """
    global _remedies
    if _remedies is None:
        sys.addaudithook(_note)
    _remedies = remedies


def refused(error: BaseException | None) -> str | None:
    """Returns what the plugin tried, as the end of a sentence that begins with "it"; None for other errors.

    Call it in the thread that caught the error, before anything is logged.
    """
    if _remedies is None:
        return None
    found = _refusal(error)
    if found is None:
        return None
    kind = _kind(found)
    remedy = _remedies.get(kind)
    return f"it tried to {_WORDS[kind]}, which the sandbox refuses.{f' {remedy}' if remedy else ''}"


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open":
        # `open` of Python and `os.open`: path, mode, flags.
        flags = arguments[2]
        _last.kind = "write" if isinstance(flags, int) and flags & _WRITING else "read"
        return
    kind = _EVENTS.get(event) or _EVENTS.get(event.partition(".")[0])
    if kind is not None:
        _last.kind = kind


def _refusal(error: BaseException | None) -> OSError | None:
    """Returns the refusal among an error and those that caused it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in (errno.EPERM, errno.EACCES):
            return error
        if isinstance(error, socket.gaierror):
            return error
        error = error.__cause__ or error.__context__
    return None


def _kind(error: OSError) -> Kind:
    if isinstance(error, socket.gaierror):
        return "network"
    last: Kind = getattr(_last, "kind", "other")
    if error.filename is not None and last not in ("read", "write", "process"):
        return "read"
    return last
