"""Confines a child process: namespaces, Landlock, seccomp. It cannot be undone.

The child calls `enter` after it has set its limits and before it imports anything large: until then it is one
thread, and has read nothing of a video.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from videoqueue.errors import SettingsError
from videoqueue.pipeline.refusals import Kind
from videoqueue.sandbox import landlock, namespaces, seccomp
from videoqueue.sandbox.access import NO_WALLS, Cell, Walls
from videoqueue.sandbox.kernel import no_new_privileges
from videoqueue.sandbox.reach import rules

_NO_LANDLOCK = (
    "the kernel has no Landlock (Linux 5.13 or later, with landlock among the security modules: boot option "
    "lsm=), or the container forbids it"
)
_NO_ARCHITECTURE = "there is no list of system calls for the processor {machine}, only for x86_64"
_NO_SECCOMP = "the kernel, or the container, forbids a filter of system calls (seccomp)"
#: What the operator can do about a refused call of a plugin.
REMEDIES: Final[Mapping[Kind, str]] = {
    "network": "Plugins may use the network if their manifest has network=True and the operator has set "
    "VIDEOQUEUE_PLUGIN_NETWORK=allowed.",
    "read": "VIDEOQUEUE_SANDBOX_READ names the files and folders that plugins may read besides their own.",
    "write": "Plugins write temporary files into the folder of TMPDIR.",
}


def enter(cell: Cell) -> Walls:
    """Confines this process to the cell, as far as the system allows it.

    Returns:
        What confines the process from now on.

    Raises:
        SettingsError: the cell requires Landlock and seccomp, and one of them is not available.
        RuntimeError: the process has several threads; only one would be confined.
    """
    if cell.mode == "off":
        return NO_WALLS
    if sys.platform != "linux":
        return _checked(Walls(missing=(_NO_LANDLOCK, _NO_SECCOMP)), cell)
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        raise RuntimeError("A process with several threads cannot be confined.")
    allowed = list(rules(cell))  # in front of the namespaces: folders of other users may be closed there
    names = namespaces.enter(network=cell.network)
    no_new_privileges()
    missing = []
    abi = _restrict_files(cell, allowed)
    if not abi:
        missing.append(_NO_LANDLOCK)
    filtered = seccomp.is_known() and _restrict_calls(cell)
    if not filtered:
        known = seccomp.is_known()
        missing.append(_NO_SECCOMP if known else _NO_ARCHITECTURE.format(machine=platform.machine()))
    return _checked(Walls(landlock=abi, seccomp=filtered, namespaces=names, missing=tuple(missing)), cell)


def _restrict_files(cell: Cell, allowed: list[landlock.Rule]) -> int:
    """Returns the version of Landlock that is in use from now on; 0 for none."""
    abi = landlock.version()
    if cell.newest_abi is not None:
        abi = min(abi, cell.newest_abi)
    if abi <= 0:
        return 0
    try:
        landlock.restrict(abi, allowed, network=cell.network)
    except OSError:
        return 0
    return abi


def _restrict_calls(cell: Cell) -> bool:
    try:
        seccomp.restrict(network=cell.network)
    except OSError:
        return False
    return True


def _checked(walls: Walls, cell: Cell) -> Walls:
    if cell.mode == "required" and walls.missing:
        raise SettingsError(
            f"VIDEOQUEUE_SANDBOX=required cannot be used: {'; '.join(walls.missing)}. Provide it, or set "
            "VIDEOQUEUE_SANDBOX=auto to work with less."
        )
    return walls
