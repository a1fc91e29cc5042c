"""What this process may use of the machine: processors and memory, as its control groups limit them.

See cgroups(7), and cgroup-v1/memory.rst and cgroup-v2.rst of the kernel. A limit holds for everything below
it, so the smallest on the path from a process's own group to the top counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# A group without a limit shows the largest number of pages in version 1.
_NO_LIMIT = 2**60


def usable_cores(root: Path = Path("/")) -> int:
    """Returns the processors this process may use, at least 1: its affinity, and the groups' quotas of time.

    Args:
        root: the folder that holds `proc` and `sys`; another one for tests.
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
    """Returns the bytes of memory that this process and all others in its groups may use together.

    The machine's own memory is the largest limit. None where the system tells nothing.
    """
    limits = list(_total_memory(root))
    for folder in _groups(root, "memory"):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            limits += _numbers(_words(folder / name))
        # Version 1 tells the smallest limit of the groups above, also of those that a container cannot see.
        for line in _lines(folder / "memory.stat"):
            name, _, value = line.partition(" ")
            if name == "hierarchical_memory_limit":
                limits += _numbers([value])
    return min(limits, default=None)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's groups that have the controller, each up to the top that is visible."""
    paths = dict(_paths(root, controller))
    for line in _lines(root / "proc/self/mountinfo"):
        left, _, right = line.partition(" - ")
        mount, system = left.split(), right.split()
        if len(mount) < 5 or len(system) < 3 or system[0] not in paths:
            continue
        if system[0] == "cgroup" and controller not in system[2].split(","):
            continue
        top = root / mount[4].lstrip("/")
        # A container's group is named from the top of the machine, of which only the part below is mounted.
        inside, above = paths[system[0]], mount[3].rstrip("/")
        below = inside[len(above) :] if inside == above or inside.startswith(f"{above}/") else ""
        folder = top / below.lstrip("/")
        yield from (place for place in (folder, *folder.parents) if place.is_relative_to(top))


def _paths(root: Path, controller: str) -> Iterator[tuple[str, str]]:
    """This process's group in the hierarchy of version 2, and in the one of version 1 with the controller."""
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
