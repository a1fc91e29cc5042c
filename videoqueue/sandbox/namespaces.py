"""Namespaces: a network of its own without interfaces, and no shared memory of others; see namespaces(7).

A process that may not make them gets them inside a user namespace, if the system allows that. It keeps its
user and group there, and no capability.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from videoqueue.sandbox.kernel import keep_capabilities, unshare

_NEW_IPC: Final = 0x08000000
_NEW_USER: Final = 0x10000000
_NEW_NET: Final = 0x40000000
#: Root may read files of other users, such as the packages of the user who called sudo. Landlock still says
#: which files.
_CAP_DAC_READ_SEARCH: Final = 1 << 2


def enter(*, network: bool) -> tuple[str, ...]:
    """Enters new namespaces as far as the system allows it, and drops the capabilities of this process.

    Args:
        network: whether the process stays in the machine's network.

    Returns:
        The names of the namespaces that are new.

    Raises:
        OSError: the capabilities could not be dropped.
    """
    user, group = os.geteuid(), os.getegid()
    new = _NEW_IPC | (0 if network else _NEW_NET)
    names: tuple[str, ...] = ("ipc",) if network else ("network", "ipc")
    try:
        unshare(new)
    except OSError:
        names = _with_user_namespace(new, names) if user else ()
    if "user" in names:
        _keep_identity(user, group)
    keep_capabilities(0 if user else _CAP_DAC_READ_SEARCH)
    return names


def _with_user_namespace(new: int, names: tuple[str, ...]) -> tuple[str, ...]:
    """Root stays out of a user namespace: in one of its own it could not read files of other users."""
    try:
        unshare(_NEW_USER | new)
    except OSError:
        return ()
    return "user", *names


def _keep_identity(user: int, group: int) -> None:
    """Maps the ids of this process to themselves; without it they would be shown as those of nobody."""
    with suppress(OSError):
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
