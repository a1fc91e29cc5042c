"""The files that the code of a child needs: Python, its packages, native libraries, models, devices.

Everything is read-only except the scratch folder and /dev/null. A folder with code that also contains hidden
files, such as a checkout with the data folder in it, is split: its other parts can be read, and of the folder
itself only the names in it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from videoqueue import failpoints
from videoqueue.sandbox.access import Cell
from videoqueue.sandbox.landlock import LIST, OWN, READ, WRITE, Rule

_PACKAGE: Final = Path(__file__).resolve().parents[1]
#: Native libraries, and the stores of systems that have them elsewhere.
_LIBRARIES: Final = (
    *("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib"),
    *("/nix/store", "/gnu/store", "/usr/share/zoneinfo", "/usr/share/locale"),
)
#: What the C library, Python, OpenSSL and OpenVINO read when they start.
_SYSTEM: Final = (
    *("/etc/ld.so.cache", "/etc/localtime", "/etc/timezone", "/etc/mime.types", "/etc/ssl/openssl.cnf"),
    *("/sys/devices/system/cpu", "/sys/devices/system/node", "/sys/kernel/mm"),
    *("/sys/fs/cgroup", "/dev/urandom", "/dev/random", "/dev/zero"),
)
#: Parts of /proc. An inode of /proc is made anew when memory is short, and a rule would then be lost; so
#: these files stay open.
_PROC: Final = (
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat"),
    *("/proc/sys/vm/nr_hugepages", "/proc/sys/vm/overcommit_memory", "/proc/sys/crypto/fips_enabled"),
)
#: Names, addresses and certificates of other machines.
_NETWORK: Final = (
    *("/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/gai.conf"),
    *("/etc/services", "/etc/protocols", "/etc/ssl", "/etc/pki", "/etc/ca-certificates"),
    *("/usr/share/ca-certificates", "/run/systemd/resolve", "/run/NetworkManager/resolv.conf"),
)


def rules(cell: Cell) -> Iterator[Rule]:
    """Yields what a child may reach. Call it before the child is confined: folders are listed."""
    hidden = [Path(os.path.realpath(path)) for path in cell.hidden]
    for folder in {*_code(), *map(Path, cell.readable)}:
        yield from _parts(Path(os.path.realpath(folder)), hidden)
    for path in (*_SYSTEM, *(_NETWORK if cell.network else ()), *cell.inputs):
        yield Rule(Path(path), READ)
    for path in _PROC:
        with suppress(OSError):
            os.open(path, os.O_PATH | os.O_CLOEXEC)
            yield Rule(Path(path), READ)
    yield Rule(Path("/dev/null"), WRITE)
    if cell.scratch:
        yield Rule(Path(cell.scratch), OWN)
    if failpoints.armed():
        yield Rule(Path(failpoints.armed()), OWN)


def _code() -> Iterator[Path]:
    """Yields the folders and files that contain code."""
    yield from map(Path, _LIBRARIES)
    yield _PACKAGE
    for entry in (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, *sys.path):
        if entry:
            yield Path(entry)
    yield from map(Path, filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)))
    for name, module in list(sys.modules.items()):
        if name.startswith("__editable___"):  # setuptools maps packages to folders beside sys.path
            yield from map(Path, getattr(module, "MAPPING", {}).values())


def _parts(folder: Path, hidden: Iterable[Path]) -> Iterator[Rule]:
    """Yields rules for a folder without what is hidden in it."""
    inside = [path for path in hidden if path.is_relative_to(folder)]
    if folder in inside:
        return
    if not inside:
        yield Rule(folder, READ)
        return
    yield Rule(folder, LIST)
    with suppress(OSError):
        for entry in sorted(folder.iterdir()):
            if not entry.is_symlink():
                yield from _parts(entry, inside)
