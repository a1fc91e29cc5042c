"""Words of messages that depend on a number."""

from __future__ import annotations


def counted(count: float, noun: str) -> str:
    """Returns the number with the noun, in the plural unless it is 1.

    Example:
        The noun's plural ends in s::

            counted(2, "job")  # "2 jobs"
    """
    number = f"{count:g}" if isinstance(count, float) else str(count)
    return f"{number} {noun}" if count == 1 else f"{number} {noun}s"
