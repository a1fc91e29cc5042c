"""Changes the sample entries of real MP4 files."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

from tests.support.edited_videos import boxes
from tests.support.mp4_boxes import box

_PATH = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
# Bytes in front of the children of `stsd` and of a sample entry.
_STSD_HEAD = 16
ENTRY_HEAD = 8 + 78


def with_boxes(file: Path, added: bytes, in_front: bool = False) -> Path:
    """Puts boxes at the end of every sample entry, or in front of its other boxes.

    The `moov` must come last, so that no sample moves.
    """

    def change(entry: bytes) -> bytes:
        at = ENTRY_HEAD if in_front else len(entry)
        return entry[8:at] + added + entry[at:]

    return change_entries(file, change)


def change_entries(file: Path, change: Callable[[bytes], bytes]) -> Path:
    """Replaces the content of every sample entry; `change` is given the whole entry.

    The `moov` must come last, so that no sample moves.
    """
    content = file.read_bytes()
    assert list(boxes(content, 0, len(content)))[-1][0] == b"moov"
    file.write_bytes(_within(content, 0, _PATH, change))
    return file


def _within(content: bytes, begin: int, path: tuple[bytes, ...], change: Callable[[bytes], bytes]) -> bytes:
    parts = []
    for kind, start, stop in boxes(content, begin, len(content)):
        part = content[start:stop]
        if not path:
            part = box(kind, change(part))
        elif kind == path[0]:
            head = _STSD_HEAD if kind == b"stsd" else 8
            part = box(kind, part[8:head], _within(part, head, path[1:], change))
        parts.append(part)
    return b"".join(parts)


def colr(primaries: int, transfer: int, matrix: int, kind: bytes = b"nclx", full: bool = False) -> bytes:
    """A `colr` box."""
    codes = struct.pack(">3H", primaries, transfer, matrix)
    return box(b"colr", kind, codes, bytes([0x80 * full]) if kind == b"nclx" else b"")
