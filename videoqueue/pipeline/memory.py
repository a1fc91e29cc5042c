"""Distinguishes a failed allocation from other errors. Each native library reports it in its own words."""

from __future__ import annotations

import errno
import mmap
import resource
import sys
from contextlib import suppress
from pathlib import Path

from videoqueue.errors import OutOfMemoryError, VideoqueueError

#: In lower case. Collected by running the real pipeline under decreasing memory limits.
_MESSAGES = (
    "bad_alloc",  # C++
    "bad_array_new_length",
    "memoryerror",  # the end of a Python traceback
    "failed to allocate",  # OpenCV, NumPy
    "unable to allocate",  # NumPy
    "insufficient memory",  # OpenCV
    "cannot allocate memory",  # ENOMEM in the C library, FFmpeg and the dynamic linker
    "can't alloc",  # oneDNN, in OpenVINO
    "could not allocate",
    "out of memory",
    "memory allocation",  # OpenBLAS: "Memory allocation still failed after 10 retries"
    "failed to map segment from shared object",  # the dynamic linker, during an import
    "cannot create shared object",
    # A thread's stack is part of the process's memory: pthread_create(3) fails with EAGAIN.
    "can't start new thread",
    "cannot create thread",
    "pthread_create",
    "resource temporarily unavailable",
    "std::future_error: broken promise",  # OpenVINO, when the thread that computed could not allocate
)


# Fields of /proc/self/statm, in pages; see proc_pid_statm(5).
_SIZE, _DATA = 0, 5
# The largest allocation whose failure a library may hide: the buffers of a model.
_HIDDEN_BYTES = 64 * 1024**2


def is_out_of_memory(error: BaseException | None) -> bool:
    """Returns whether the exception, or one that caused it, comes from a failed allocation.

    The texts of this project's own exceptions do not count: they are written for users.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, MemoryError | OutOfMemoryError) or _errno(error) == errno.ENOMEM:
            return True
        if (
            not isinstance(error, VideoqueueError)
            and _errno(error) is None
            and is_out_of_memory_text(str(error))
        ):
            return True
        # pybind11 turns every C++ exception into a RuntimeError, whose text may not mention memory.
        if type(error) is RuntimeError and _is_near_limit():
            return True
        error = error.__cause__ or error.__context__
    return False


def is_out_of_memory_text(text: str) -> bool:
    """Returns whether a text, such as the last lines of a process's output, reports a failed allocation."""
    text = text.lower()
    return any(message in text for message in _MESSAGES)


class MemoryMark:
    """The largest amount of memory that calls of `look` have seen this process use.

    It tells whether a limit was near: a library may hide a failed allocation, and the kernel records none.
    """

    def __init__(self) -> None:
        kinds = (resource.RLIMIT_AS, _SIZE), (resource.RLIMIT_DATA, _DATA)
        limits = ((resource.getrlimit(kind)[0], field) for kind, field in kinds)
        self._limits = [(limit, field) for limit, field in limits if limit != resource.RLIM_INFINITY]
        self._room = sys.maxsize

    def look(self) -> None:
        """Records the memory in use now. It takes some microseconds, or no time if there is no limit."""
        if not self._limits:
            return
        with suppress(OSError, LookupError, ValueError):
            pages = Path("/proc/self/statm").read_text().split()
            free = (limit - int(pages[field]) * mmap.PAGESIZE for limit, field in self._limits)
            self._room = min(self._room, *free)

    @property
    def room(self) -> int:
        """Returns the least number of bytes that were free; `sys.maxsize` if there is no limit."""
        return self._room

    def came_near(self, room: int) -> bool:
        """Returns whether an allocation of `room` bytes may have failed; False if there is no limit."""
        return self._room < room


def free_memory() -> int | None:
    """Returns how many bytes this process may still allocate; None if it has no limit."""
    mark = MemoryMark()
    mark.look()
    return max(0, mark.room) if mark.room < sys.maxsize else None


def check_room(count: int) -> None:
    """Raises MemoryError if `count` bytes cannot be allocated now."""
    try:
        mmap.mmap(-1, count, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except OSError as error:
        raise MemoryError(f"{count} bytes cannot be allocated") from error


def _is_near_limit() -> bool:
    mark = MemoryMark()
    mark.look()
    return mark.came_near(_HIDDEN_BYTES)


def _errno(error: BaseException) -> int | None:
    """Returns the number of an OSError that has one: its text then says no more than the number."""
    return getattr(error, "errno", None)
