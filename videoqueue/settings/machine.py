"""The cores and the memory that this process may use, as its control groups limit them.

Sources: cgroups(7), and cgroup-v1/memory.rst and cgroup-v2.rst of the Linux kernel. A limit applies to all
groups below it, so the smallest one on the path from the process's group to the top counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# In version 1, a group without a limit shows the largest possible number of pages.
_NO_LIMIT = 2**60


def usable_cores(root: Path = Path("/")) -> int:
    """Returns the number of cores that this process may use, at least 1: by affinity and CPU quotas.

    Args:
        root: the folder that contains `proc` and `sys`.
    """
    cores = float(len(os.sched_getaffinity(0)))
    for folder in _groups(root, "cpu"):
        quota = _words(folder / "cpu.max") or [
            *_words(folder / "cpu.cfs_quota_us"),
            *_words(folder / "cpu.cfs_period_us"),
        ]
        if len(quota) == 2 and all(word.isdigit() and int(word) > 0 for word in quota):
            cores = min(cores, int(quota[0]) / int(quota[1]))
    return max(1, int(cores))


def usable_memory(root: Path = Path("/")) -> int | None:
    """Returns the memory that all processes of this process's groups may use together, in bytes.

    It is at most the memory of the machine. None when the system does not report it.

    Args:
        root: the folder that contains `proc` and `sys`.
    """
    limits = list(_total_memory(root))
    for folder in _groups(root, "memory"):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            limits += _numbers(_words(folder / name))
        # Version 1 reports the smallest limit of all parent groups, also of those outside a container.
        for line in _lines(folder / "memory.stat"):
            name, _, value = line.partition(" ")
            if name == "hierarchical_memory_limit":
                limits += _numbers([value])
    return min(limits, default=None)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yields the folders of this process's groups with the controller, and their visible parents."""
    paths = dict(_paths(root, controller))
    for line in _lines(root / "proc/self/mountinfo"):
        left, _, right = line.partition(" - ")
        mount, system = left.split(), right.split()
        if len(mount) < 5 or len(system) < 3 or system[0] not in paths:
            continue
        if system[0] == "cgroup" and controller not in system[2].split(","):
            continue
        top = root / mount[4].lstrip("/")
        # The name of a container's group starts at the top of the machine, but only the part below is
        # mounted.
        inside, above = paths[system[0]], mount[3].rstrip("/")
        below = inside[len(above) :] if inside == above or inside.startswith(f"{above}/") else ""
        folder = top / below.lstrip("/")
        yield from (place for place in (folder, *folder.parents) if place.is_relative_to(top))


def _paths(root: Path, controller: str) -> Iterator[tuple[str, str]]:
    """Yields the group of this process in version 2, and in the version 1 hierarchy with the controller."""
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0" and not names:
            yield "cgroup2", path
        elif controller in names.split(","):
            yield "cgroup", path


def _total_memory(root: Path) -> Iterator[int]:
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemTotal:"):
            yield from (kibibytes * 1024 for kibibytes in _numbers(line.split()[1:2]))


def _numbers(words: list[str]) -> list[int]:
    return [int(word) for word in words if word.strip().isdigit() and 0 < int(word) < _NO_LIMIT]


def _words(file: Path) -> list[str]:
    return [word for line in _lines(file) for word in line.split()]


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(errors="replace").splitlines()
    except OSError:
        return []
