"""Writes other edit lists into real MP4 files."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import av

from tests.support.mp4_boxes import box


def boxes(content: bytes, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Type, begin and end of each box."""
    while begin < end:
        size, kind = struct.unpack_from(">I4s", content, begin)
        yield kind, begin, begin + size
        begin += size


def edit_list(edits: Sequence[tuple[int, int]], version: int = 0) -> bytes:
    """An `edts` of edits: duration in ticks of the movie, time in ticks of the media or -1."""
    form = ">QqI" if version else ">IiI"
    entries = b"".join(struct.pack(form, *edit, 1 << 16) for edit in edits)
    return box(b"edts", box(b"elst", struct.pack(">BxxxI", version, len(edits)), entries))


def with_edits(
    file: Path, edits: Sequence[tuple[int, int]], version: int = 0, timescale: int = 1000, track: int = 0
) -> Path:
    """Replaces the edit list of a track. The `moov` must come last, so that no sample moves.

    `timescale` is the movie's; durations of edits are in it.
    """
    content = file.read_bytes()
    kind, begin, end = list(boxes(content, 0, len(content)))[-1]
    assert kind == b"moov"
    parts, tracks = [], 0
    for kind, start, stop in boxes(content, begin + 8, end):
        part = content[start:stop]
        if kind == b"mvhd":
            part = part[:20] + struct.pack(">I", timescale) + part[24:]
        elif kind == b"trak":
            if tracks == track:
                part = _edited(part, edit_list(edits, version))
            tracks += 1
        parts.append(part)
    file.write_bytes(content[:begin] + box(b"moov", *parts))
    return file


def _edited(trak: bytes, edts: bytes) -> bytes:
    parts = []
    for kind, start, stop in boxes(trak, 8, len(trak)):
        if kind == b"mdia":
            parts.append(edts)
        if kind != b"edts":
            parts.append(trak[start:stop])
    return box(b"trak", *parts)


def media_clock(file: Path) -> tuple[int, int]:
    """Ticks of the media a frame lasts, at 25 a second, and the media time of the first frame."""
    with av.open(str(file), options={"ignore_editlist": "1"}) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        first = min(packet.pts for packet in container.demux(stream) if packet.pts is not None)
        return stream.time_base.denominator // 25, first
