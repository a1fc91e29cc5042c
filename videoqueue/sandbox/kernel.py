"""The calls of the kernel that confine a process and that Python has no function for. Linux only."""

from __future__ import annotations

import ctypes
import os
from typing import Any, Final

# prctl(2)
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
#: _LINUX_CAPABILITY_VERSION_3 of capget(2): two structures of 32 capabilities each.
_CAPABILITY_VERSION: Final = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityData(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def syscall(number: int, *arguments: Any) -> int:
    """Makes a system call; an int is passed as a long, None as a null pointer.

    Returns:
        The result of the call, 0 or more.

    Raises:
        OSError: the kernel refused.
    """
    words = [ctypes.c_long(given) if isinstance(given, int) else given for given in arguments]
    result = int(_libc.syscall(ctypes.c_long(number), *words))
    if result < 0:
        raise _last_error()
    return result


def prctl(option: int, *arguments: Any) -> None:
    """Calls prctl(2), with zeros for the arguments that are not given.

    Raises:
        OSError: the kernel refused.
    """
    words = [ctypes.c_ulong(given) if isinstance(given, int) else given for given in arguments]
    words += [ctypes.c_ulong(0)] * (4 - len(words))
    if _libc.prctl(option, *words):
        raise _last_error()


def unshare(flags: int) -> None:
    """Calls unshare(2).

    Raises:
        OSError: the kernel refused.
    """
    if _libc.unshare(flags):
        raise _last_error()


def no_new_privileges() -> None:
    """Makes it impossible for this process to gain rights by execve(2); see PR_SET_NO_NEW_PRIVS."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def keep_capabilities(kept: int) -> None:
    """Drops every capability except those in the bit mask `kept`; see capabilities(7).

    Raises:
        OSError: the kernel refused.
    """
    header = _CapabilityHeader(_CAPABILITY_VERSION, 0)
    data = (_CapabilityData * 2)()
    if _libc.capget(ctypes.byref(header), ctypes.byref(data)):
        raise _last_error()
    for number in range(64):
        if not kept >> number & 1:
            _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)  # fails beyond the last one
    for index, half in enumerate(data):
        half.effective = half.permitted = half.permitted & (kept >> 32 * index) & 0xFFFFFFFF
        half.inheritable = 0
    if _libc.capset(ctypes.byref(header), ctypes.byref(data)):
        raise _last_error()


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
