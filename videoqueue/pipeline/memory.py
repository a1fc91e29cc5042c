"""Tells an exception that means "memory ran out" from others: native libraries have words of their own."""

from __future__ import annotations

import errno

_SIGNS = (
    "bad_alloc",
    "failed to allocate",
    "cannot allocate memory",
    "insufficient memory",
    "out of memory",
    "can't start new thread",  # its stack is the process's memory
)


def is_shortage(error: BaseException | None) -> bool:
    """Whether the exception, or one that led to it, comes from a failed allocation."""
    while error is not None:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return True
        text = str(error).lower()
        if any(sign in text for sign in _SIGNS):
            return True
        error = error.__cause__ or error.__context__
    return False
