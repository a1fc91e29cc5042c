"""Which values a result may hold, so that every client can parse the JSON: see RFC 8259, sections 6 and 9."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

#: The deepest nesting of lists and objects. Parsers have limits of their own: 512 in PHP, 64 in .NET.
MAX_DEPTH = 32
_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**64 - 1


def check_value(value: object, depth: int = MAX_DEPTH) -> None:
    """Checks the nesting and the integers of a value. `json.dumps` itself rejects everything else.

    Args:
        value: The value.
        depth: How many levels of lists and objects it may have.

    Raises:
        ValueError: Lists and objects are nested too deep, or an integer needs more than 64 bits.
    """
    inner: Iterable[object]
    match value:
        case bool():
            return
        case int():
            if not _MIN_INTEGER <= value <= _MAX_INTEGER:
                raise ValueError("a whole number needs more than 64 bits")
            return
        case Mapping():
            inner = value.values()
        case list() | tuple():
            inner = value
        case _:
            return
    if depth == 0:
        raise ValueError(f"lists and objects are nested more than {MAX_DEPTH} deep")
    for item in inner:
        check_value(item, depth - 1)
