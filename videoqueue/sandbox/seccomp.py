"""seccomp: the system calls that this process can make from now on; see seccomp(2).

The filter is an allow-list: a call that it does not name fails with EPERM. It covers what Landlock does not:
sockets of all kinds, new processes, signals, limits and priorities of other processes, and the owner, mode
and times of files. The numbers are those of x86_64; on other architectures there is no filter.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import socket
import struct
from collections.abc import Iterable
from typing import Final

from videoqueue.sandbox.kernel import prctl
from videoqueue.sandbox.syscalls import ALWAYS, NETWORK, NUMBERS

_PR_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2
_ARCHITECTURE: Final = 0xC000003E  # AUDIT_ARCH_X86_64
_X32_BIT: Final = 0x40000000
#: Calls from here on are newer than the list. A C library that finds one missing uses an older one.
_NEWER: Final = 450
# What a filter returns.
_KILL: Final = 0x80000000
_ALLOW: Final = 0x7FFF0000
_ERROR: Final = 0x00050000
_REFUSE: Final = _ERROR | errno.EPERM
# Offsets in struct seccomp_data.
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
# Instructions of classic BPF.
_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT = 0x15, 0x35, 0x45

_CLONE_THREAD: Final = 0x00010000
#: fcntl(2) without those that make the kernel send signals (F_SETOWN, F_SETSIG) or watch other files.
_FCNTL: Final = (
    fcntl.F_DUPFD,
    fcntl.F_DUPFD_CLOEXEC,
    fcntl.F_GETFD,
    fcntl.F_SETFD,
    fcntl.F_GETFL,
    fcntl.F_SETFL,
    fcntl.F_GETLK,
    fcntl.F_SETLK,
    fcntl.F_SETLKW,
    36,  # F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW
    37,
    38,
)
_IOCTL: Final = (0x5450, 0x5451, 0x541B, 0x5421)  # FIONCLEX, FIOCLEX, FIONREAD, FIONBIO
#: PR_GET_DUMPABLE, PR_SET_NAME, PR_GET_NAME, PR_GET_SECCOMP, PR_CAPBSET_READ, PR_GET_NO_NEW_PRIVS, PR_SET_VMA
_PRCTL: Final = (3, 15, 16, 21, 23, 39, 0x53564D41)

_Instruction = tuple[int, int, int, int]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def is_known() -> bool:
    """Returns whether there is a filter for this architecture."""
    return platform.machine() == "x86_64" and ctypes.sizeof(ctypes.c_void_p) == 8


def restrict(*, network: bool) -> None:
    """Refuses this thread, and threads that it starts, all calls that are not allowed. It cannot be undone.

    It needs no_new_privs, or CAP_SYS_ADMIN.

    Args:
        network: whether connections to other machines may be opened.

    Raises:
        OSError: the kernel refused.
    """
    install(_filter(os.getpid(), network))


def install(instructions: list[_Instruction]) -> None:
    """Installs a filter.

    Raises:
        OSError: the kernel refused.
    """
    code = b"".join(struct.pack("<HBBI", *instruction) for instruction in instructions)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(instructions), ctypes.addressof(buffer))
    prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program))


def _filter(pid: int, network: bool) -> list[_Instruction]:
    blocks = {name: [_return(_ALLOW)] for name in (*ALWAYS, *(NETWORK if network else ()))}
    # Truncating needs the right to write, but before ABI 3 Landlock looks only at how the file is opened.
    blocks["open"] = _unless(1, os.O_TRUNC | os.O_ACCMODE, os.O_TRUNC | os.O_RDONLY)
    blocks["openat"] = _unless(2, os.O_TRUNC | os.O_ACCMODE, os.O_TRUNC | os.O_RDONLY)
    blocks["clone"] = _if_bit(0, _CLONE_THREAD)
    # The flags of clone3 are in memory that a filter cannot read. The C library then calls clone.
    blocks["clone3"] = [_return(_ERROR | errno.ENOSYS)]
    blocks["kill"] = blocks["tgkill"] = _if_one_of(0, [pid])
    blocks["prlimit64"] = blocks["sched_setaffinity"] = _if_one_of(0, [0])
    blocks["fcntl"] = _if_one_of(1, _FCNTL)
    blocks["prctl"] = _if_one_of(0, _PRCTL)
    # Python asks every file that it opens whether it is a terminal.
    blocks["ioctl"] = _if_one_of(1, _IOCTL, errno.ENOTTY)
    if network:
        blocks["socket"] = _if_one_of(0, [socket.AF_INET, socket.AF_INET6])
    program = [
        (_LOAD, 0, 0, _ARCH),
        (_IF_EQUAL, 1, 0, _ARCHITECTURE),
        _return(_KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_IF_AT_LEAST, 0, 1, _X32_BIT),
        _return(_REFUSE),
        (_IF_AT_LEAST, 0, 1, _NEWER),
        _return(_ERROR | errno.ENOSYS),
    ]
    for name, block in sorted(blocks.items(), key=lambda item: NUMBERS[item[0]]):
        program += [(_IF_EQUAL, 0, len(block), NUMBERS[name]), *block]
    return [*program, _return(_REFUSE)]


def _return(what: int) -> _Instruction:
    return _RETURN, 0, 0, what


def _argument(index: int) -> _Instruction:
    """Loads the lower half of an argument; every argument that is compared here has 32 bits."""
    return _LOAD, 0, 0, _ARGUMENTS + 8 * index


def _if_one_of(index: int, values: Iterable[int], otherwise: int = errno.EPERM) -> list[_Instruction]:
    given = list(values)
    tests = [(_IF_EQUAL, len(given) - position, 0, value) for position, value in enumerate(given)]
    return [_argument(index), *tests, _return(_ERROR | otherwise), _return(_ALLOW)]


def _if_bit(index: int, bit: int) -> list[_Instruction]:
    return [_argument(index), (_IF_ANY_BIT, 1, 0, bit), _return(_REFUSE), _return(_ALLOW)]


def _unless(index: int, mask: int, refused: int) -> list[_Instruction]:
    return [
        _argument(index),
        (_AND, 0, 0, mask),
        (_IF_EQUAL, 0, 1, refused),
        _return(_REFUSE),
        _return(_ALLOW),
    ]
