"""The limits of a child process. The child sets them first, before it reads a task.

It cannot raise them again. The parent enforces time limits, so a compromised child cannot extend them. See
setrlimit(2) and proc(5).
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

#: Address space per byte of memory: OpenVINO reserves much more than it uses.
_ADDRESS_SPACE_FACTOR = 3
_STACK_BYTES = 2 * 1024**2
#: Bytes, more than a pthread_attr_t has on any platform.
_SIZE_OF_ATTRIBUTES = 256
#: A child that uses more than this share of its memory between jobs is replaced.
_GROWN = 0.75
#: A crash or hang with more than this share of memory in use counts as out of memory.
_FULL = 0.8


@dataclass(frozen=True, kw_only=True)
class SandboxLimits:
    """The limits of one child process; the settings hold their defaults.

    Attributes:
        memory_bytes: memory that the child may allocate.
        file_bytes: size of a file that it may write.
        scratch_bytes: size of all files that it has at once.
        open_files: number of open files.
        log_lines: lines of one job in the log.
        jobs: number of jobs, after which the child is replaced.
        job_seconds: wall-clock time of a job.
        stall_seconds: wall-clock time without a message.
    """

    memory_bytes: int
    file_bytes: int
    scratch_bytes: int
    open_files: int
    log_lines: int
    jobs: int
    job_seconds: float
    stall_seconds: float

    @property
    def grown_bytes(self) -> int:
        """Returns the memory in bytes above which a child is replaced between two jobs."""
        return int(self.memory_bytes * _GROWN)

    @property
    def full_bytes(self) -> int:
        """Returns the memory in bytes above which a crash or hang counts as out of memory."""
        return int(self.memory_bytes * _FULL)

    @property
    def cpu_seconds(self) -> int:
        """Returns the CPU time of one job, in seconds: the job's time on all cores."""
        return math.ceil(self.job_seconds) * (os.cpu_count() or 1) + 1


def confine(limits: SandboxLimits) -> None:
    """Applies the limits to this process permanently; outside Linux, those that the system knows."""
    import resource

    # If the machine runs out of memory, the kernel kills this process first.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    bounds = {
        "RLIMIT_CORE": 0,
        "RLIMIT_DATA": limits.memory_bytes,
        "RLIMIT_AS": limits.memory_bytes * _ADDRESS_SPACE_FACTOR,
        "RLIMIT_FSIZE": limits.file_bytes,
        "RLIMIT_NOFILE": limits.open_files,
        "RLIMIT_CPU": limits.cpu_seconds * limits.jobs,
    }
    for name, bound in bounds.items():
        kind = getattr(resource, name, None)
        if kind is None:
            continue
        given = resource.getrlimit(kind)[1]
        hard = bound if given == resource.RLIM_INFINITY else min(bound, given)
        try:
            resource.setrlimit(kind, (hard, hard))
        except (ValueError, OSError):
            if sys.platform == "linux":
                raise


def shrink_stacks() -> None:
    """Sets a small stack size for later threads. By default each reserves 8 MiB of the memory limit.

    See pthread_setattr_default_np(3), which only the GNU C library has.
    """
    library = ctypes.CDLL(None)
    attributes = ctypes.create_string_buffer(_SIZE_OF_ATTRIBUTES)
    with suppress(AttributeError):
        library.pthread_attr_init(attributes)
        library.pthread_attr_setstacksize(attributes, ctypes.c_size_t(_STACK_BYTES))
        library.pthread_setattr_default_np(attributes)


def begin_job(limits: SandboxLimits) -> None:
    """Raises the CPU limit by the time of one job. The kernel counts from the start of the process."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = math.ceil(time.process_time()) + limits.cpu_seconds
    resource.setrlimit(
        resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard)
    )


def resident_bytes(pid: int) -> int:
    """Returns the resident memory of a process in bytes; 0 if the system does not report it."""
    return _statm(pid, 1)


def data_bytes(pid: int) -> int:
    """Returns the memory that RLIMIT_DATA counts, in bytes; 0 if the system does not report it."""
    return _statm(pid, 5)


def shared_bytes(pid: int) -> int:
    """Returns the memory of a process that it shares, or could, in bytes; 0 if the system does not report it.

    RLIMIT_DATA does not count it.
    """
    try:
        text = Path(f"/proc/{pid}/status").read_text(errors="replace")
        return int(text.partition("\nRssShmem:")[2].split(maxsplit=1)[0]) * 1024
    except (OSError, IndexError, ValueError):
        return 0


def _statm(pid: int, field: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[field])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
