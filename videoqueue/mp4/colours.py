"""The `colr` box of a sample entry: how the colours of a track are coded (ISO/IEC 14496-12, 12.1.5)."""

from __future__ import annotations

from dataclasses import dataclass
from struct import unpack
from typing import Final

#: The code of ISO/IEC 23091-2 for primaries, transfer and matrix that are not said.
UNSPECIFIED: Final = 2
#: Bytes of a `colr` box's content that are used.
COLR_BYTES: Final = 11
# `nclx` is that of MP4, `nclc` that of QuickTime. Others hold an ICC profile, which is not used.
_CODES = frozenset({b"nclx", b"nclc"})


@dataclass(frozen=True)
class ColourTags:
    """Codes of ISO/IEC 23091-2. `full_range` is None when it is not said."""

    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    matrix: int = UNSPECIFIED
    full_range: bool | None = None


def read_colr(content: bytes) -> ColourTags | None:
    """Returns the tags in the content of a `colr` box, None when it is too short or an ICC profile."""
    if content[:4] not in _CODES or len(content) < 10:
        return None
    primaries, transfer, matrix = map(_code, unpack(">3H", content[4:10]))
    has_range = content[:4] == b"nclx" and len(content) >= COLR_BYTES
    return ColourTags(primaries, transfer, matrix, bool(content[10] & 0x80) if has_range else None)


def _code(value: int) -> int:
    """The code, or that of unspecified for one that a picture cannot have: 0 is reserved, or means RGB."""
    return value if 0 < value < 256 else UNSPECIFIED
