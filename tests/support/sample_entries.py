"""Adds boxes to the sample entries of real MP4 files."""

from __future__ import annotations

import struct
from pathlib import Path

from tests.support.edited_videos import boxes
from tests.support.mp4_boxes import box

_PATH = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
# Bytes in front of the children of `stsd` and of a sample entry.
_STSD_HEAD = 16
_ENTRY_HEAD = 8 + 78


def with_boxes(file: Path, added: bytes, in_front: bool = False) -> Path:
    """Puts boxes at the end of every sample entry, or in front of its other boxes.

    The `moov` must come last, so that no sample moves.
    """
    content = file.read_bytes()
    assert list(boxes(content, 0, len(content)))[-1][0] == b"moov"
    file.write_bytes(_within(content, 0, _PATH, added, in_front))
    return file


def _within(content: bytes, begin: int, path: tuple[bytes, ...], added: bytes, in_front: bool) -> bytes:
    parts = []
    for kind, start, stop in boxes(content, begin, len(content)):
        part = content[start:stop]
        if not path:
            at = _ENTRY_HEAD if in_front else len(part)
            part = box(kind, part[8:at], added, part[at:])
        elif kind == path[0]:
            head = _STSD_HEAD if kind == b"stsd" else 8
            part = box(kind, part[8:head], _within(part, head, path[1:], added, in_front))
        parts.append(part)
    return b"".join(parts)


def colr(primaries: int, transfer: int, matrix: int, kind: bytes = b"nclx", full: bool = False) -> bytes:
    """A `colr` box."""
    codes = struct.pack(">3H", primaries, transfer, matrix)
    return box(b"colr", kind, codes, bytes([0x80 * full]) if kind == b"nclx" else b"")
