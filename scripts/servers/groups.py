"""Control groups that limit the memory of a process, as a container of that size does."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Limited:
    """A limit of memory for what a shell starts."""

    #: What the shell runs first.
    prelude: str
    #: What enforces the limit.
    by: str
    group: Path | None = None

    def killed(self) -> int:
        """Returns how many processes the kernel has killed because the limit was reached."""
        found = 0
        for name in ("memory.events", "memory.oom_control"):
            with suppress(OSError, AttributeError):
                for line in (self.group / name).read_text().splitlines():  # type: ignore[operator]
                    word, _, value = line.partition(" ")
                    found += int(value) if word == "oom_kill" else 0
        return found


@contextmanager
def limited(name: str, size: int) -> Iterator[Limited]:
    """Makes a group for the block: of version 2 or 1 if root may, otherwise a limit of address space.

    Args:
        name: a name for the group.
        size: the limit in bytes.
    """
    group = _group(f"{name}-{os.getpid()}", size)
    if group is None:
        # It limits each process on its own, and the service does not know of it.
        yield Limited(f"ulimit -v {size // 1024}; ", "RLIMIT_AS of each process; no group can be made")
        return
    kind = "a group of version 1" if (group / "memory.limit_in_bytes").exists() else "a group of version 2"
    try:
        yield Limited(f"echo $$ > {group}/cgroup.procs; ", kind, group)
    finally:
        _remove(group)


def _group(name: str, size: int) -> Path | None:
    for top, files in (
        (_ROOT, ("memory.max", "memory.swap.max")),
        (_ROOT / "memory", ("memory.limit_in_bytes",)),
    ):
        group = top / name
        with suppress(OSError):
            group.mkdir()
            if not (group / files[0]).exists():  # no control group, or one without this controller
                group.rmdir()
                continue
            (group / files[0]).write_text(str(size))
            with suppress(OSError):
                (group / files[-1]).write_text("0" if len(files) > 1 else str(size))
            return group
    return None


def _remove(group: Path) -> None:
    """Removes the group once its last process is gone."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.1)
