"""Which values a result may hold, so that every client can parse the JSON: see RFC 8259, sections 6 and 9."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Lists and objects inside each other, at most. Parsers have limits of their own: 512 in PHP, 64 in .NET.
MOST_LEVELS = 32
_LEAST_WHOLE, _MOST_WHOLE = -(2**63), 2**64 - 1


def check_value(value: Any, levels: int = MOST_LEVELS) -> None:
    """Checks the nesting and the whole numbers of a value; what `json.dumps` refuses itself is not checked.

    Raises:
        ValueError: lists and objects are nested deeper than `levels`, or a whole number needs over 64 bits.
    """
    match value:
        case bool():
            return
        case int():
            if not _LEAST_WHOLE <= value <= _MOST_WHOLE:
                raise ValueError("a whole number needs more than 64 bits")
            return
        case Mapping():
            inner = list(value.values())
        case list() | tuple():
            inner = list(value)
        case _:
            return
    if levels == 0:
        raise ValueError(f"lists and objects are nested more than {MOST_LEVELS} deep")
    for item in inner:
        check_value(item, levels - 1)
