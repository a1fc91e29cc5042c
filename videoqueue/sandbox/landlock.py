"""Landlock: the files that this process can reach from now on; see landlock(7).

Each version (ABI) of Landlock handles more kinds of access. What the kernel does not handle stays as it was:

    1  files and folders, but not truncate(2)        Linux 5.13
    2  moves between folders (ABI 1 refuses all)     5.19
    3  truncate(2)                                   6.2
    4  TCP: bind(2), connect(2)                      6.7
    5  ioctl(2) of devices                           6.10
    6  abstract unix sockets, signals                6.12

Landlock never covers stat(2), chmod(2), UDP and named unix
sockets: `videoqueue.sandbox.seccomp` does.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from typing import Final

from videoqueue.sandbox.kernel import syscall

#: The newest version whose kinds of access this module knows; later ones add nothing that it needs.
_NEWEST: Final = 6
# The numbers are the same on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION: Final = 1
_PATH_BENEATH: Final = 1
_TCP_BIND, _TCP_CONNECT = 1, 2
_ALL_SCOPES: Final = 3
#: Bytes of the ruleset's attributes that a version knows.
_SIZES: Final = {1: 8, 4: 16, 6: 24}


class Access(IntFlag):
    """Kinds of access to files; LANDLOCK_ACCESS_FS_* in linux/landlock.h."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


LIST: Final = Access.READ_DIR
READ: Final = Access.READ_FILE | Access.READ_DIR
WRITE: Final = READ | Access.WRITE_FILE | Access.TRUNCATE
#: Regular files and folders may be made and removed; nothing may be executed.
OWN: Final = WRITE | Access.REMOVE_DIR | Access.REMOVE_FILE | Access.MAKE_DIR | Access.MAKE_REG | Access.REFER
#: What a rule for a file, not a folder, may contain.
_OF_FILES: Final = Access.EXECUTE | Access.WRITE_FILE | Access.READ_FILE | Access.TRUNCATE | Access.IOCTL_DEV
_HANDLED_BITS: Final = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16, 6: 16}


@dataclass(frozen=True)
class Rule:
    """What is allowed for a file, or for a folder and everything below it."""

    path: Path
    access: Access


class _Attributes(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("fd", ctypes.c_int32))


def version() -> int:
    """Returns the ABI of this kernel; 0 if it has no Landlock, or Landlock is disabled."""
    try:
        return syscall(_CREATE_RULESET, None, 0, _VERSION)
    except (OSError, AttributeError):
        return 0


def restrict(abi: int, rules: Iterable[Rule], *, network: bool) -> None:
    """Refuses this thread, and what it starts, all access that the rules do not allow. It cannot be undone.

    It needs no_new_privs, or CAP_SYS_ADMIN. A path that does not exist, or that this process cannot reach, is
    left out.

    Args:
        abi: the version to use, at least 1, and at most that of the kernel.
        rules: what is allowed.
        network: whether TCP connections may be opened; no version refuses UDP.

    Raises:
        OSError: the kernel refused a call; nothing is restricted then.
    """
    known = min(abi, _NEWEST)
    handled = Access((1 << _HANDLED_BITS[known]) - 1)
    attributes = _Attributes(
        handled,
        0 if known < 4 else _TCP_BIND if network else _TCP_BIND | _TCP_CONNECT,
        0 if known < 6 else _ALL_SCOPES,
    )
    size = _SIZES[max(number for number in _SIZES if number <= known)]
    ruleset = syscall(_CREATE_RULESET, ctypes.byref(attributes), size, 0)
    try:
        for rule in rules:
            _add(ruleset, rule, handled)
        syscall(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _add(ruleset: int, rule: Rule, handled: Access) -> None:
    try:
        fd = os.open(rule.path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        given = os.fstat(fd).st_mode
        access = rule.access & handled & (~Access(0) if stat.S_ISDIR(given) else _OF_FILES)
        if access:
            beneath = _PathBeneath(access, fd)
            syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(beneath), 0)
    finally:
        os.close(fd)
