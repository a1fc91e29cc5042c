"""Tells a failed allocation from other errors: each native library has words of its own for it."""

from __future__ import annotations

import errno

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
        error = error.__cause__ or error.__context__
    return False


def is_shortage_text(text: str) -> bool:
    """Whether a text, such as the last lines that a process has printed, tells of a failed allocation."""
    text = text.lower()
    return any(sign in text for sign in _SIGNS)


def _errno(error: BaseException) -> int | None:
    """The number of an OSError that has one: its text then says no more than the number."""
    return getattr(error, "errno", None)
