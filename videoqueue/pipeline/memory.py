"""Tells a failed allocation from other errors: each native library has words of its own for it."""

from __future__ import annotations

import errno
import mmap
import resource
from pathlib import Path

from videoqueue.errors import OutOfMemoryError, VideoqueueError

#: In lower case. Collected by running the real pipeline under falling memory limits.
_SIGNS = (
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
    # A thread's stack is the process's memory: pthread_create(3) fails with EAGAIN.
    "can't start new thread",
    "cannot create thread",
    "pthread_create",
    "resource temporarily unavailable",
    "std::future_error: broken promise",  # OpenVINO, when the thread that computed could not allocate
)


_SIZES = ("VmPeak:", "VmSize:", "VmData:")
# The largest allocation that a library is expected to hide: a layer of a model, or a picture.
_HIDDEN_BYTES = 32 * 1024**2


def is_shortage(error: BaseException | None) -> bool:
    """Whether the exception, or one that led to it, comes from a failed allocation.

    The texts of this project's own exceptions do not count: they are written for users.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, MemoryError | OutOfMemoryError) or _errno(error) == errno.ENOMEM:
            return True
        if not isinstance(error, VideoqueueError) and _errno(error) is None and is_shortage_text(str(error)):
            return True
        # pybind11 makes one of any C++ exception, and a library may catch the one that says so.
        if type(error) is RuntimeError and came_near_limit(_HIDDEN_BYTES):
            return True
        error = error.__cause__ or error.__context__
    return False


def is_shortage_text(text: str) -> bool:
    """Whether a text, such as the last lines that a process has printed, tells of a failed allocation."""
    text = text.lower()
    return any(sign in text for sign in _SIGNS)


def came_near_limit(room: int) -> bool:
    """Whether an allocation of `room` bytes may have failed in this process's life, by its limits of memory.

    A library may hide a failed allocation. The kernel keeps the largest size that the process ever had; see
    proc_pid_status(5). False where there is no limit, or the system does not tell.
    """
    limits = resource.getrlimit(resource.RLIMIT_DATA)[0], resource.getrlimit(resource.RLIMIT_AS)[0]
    try:
        lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
        size = {words[0]: int(words[1]) * 1024 for words in lines if words[0] in _SIZES}
        peak = size["VmPeak:"]
        # What does not count as data, the mapped files, seldom shrinks.
        peaks = peak - size["VmSize:"] + size["VmData:"], peak
    except (OSError, LookupError, ValueError):
        return False
    return any(
        limit != resource.RLIM_INFINITY and peak + room > limit
        for peak, limit in zip(peaks, limits, strict=True)
    )


def check_room(count: int) -> None:
    """Raises MemoryError when so many bytes cannot be allocated now."""
    try:
        mmap.mmap(-1, count, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except OSError as error:
        raise MemoryError(f"{count} bytes cannot be allocated") from error


def _errno(error: BaseException) -> int | None:
    """The number of an OSError that has one: its text then says no more than the number."""
    return getattr(error, "errno", None)
