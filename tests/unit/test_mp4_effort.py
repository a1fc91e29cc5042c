"""What the gate costs: bounded time and memory, whatever a file is made of."""

from __future__ import annotations

import struct
import sys
import tracemalloc
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from tests.support.mp4_boxes import (
    BOUNDED,
    DEFAULTS,
    FTYP,
    GOOD,
    box,
    entry,
    fragment,
    full,
    hdlr,
    stream,
    stsd,
    tfhd,
    tkhd,
)
from videoqueue.errors import InvalidVideoError
from videoqueue.mp4 import CheckLimits, Mp4Check, Mp4Info

pytestmark = pytest.mark.usefixtures("unmeasured")

PIECE = 1 << 16
STEPS = 20_000  # the limit for the floods below
FEW_STEPS = CheckLimits(steps=STEPS, setting_names=DEFAULTS.setting_names)
MESSAGE = (
    "Reading the file's boxes and tables takes more than 20,000 steps, the most that are accepted "
    "(VIDEOQUEUE_MAX_CHECK_STEPS). "
    "Write it anew as an MP4 without fragments, for example with `ffmpeg -i in.mp4 -c copy out.mp4`, "
    "or upload a part."
)
STBL = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
TFHD = tfhd()
SHORT_RUN = box(b"trun", struct.pack(">II", 0, 0))
RUN = box(b"trun", struct.pack(">III", 0x200, 1, 1))


def endless(kind: bytes, content: bytes = b"", size: int = 1 << 40) -> bytes:
    """The beginning of a box that is longer than anything that is fed."""
    return struct.pack(">I4sQ", 1, kind, size) + content


def inside(*kinds: bytes) -> bytes:
    return FTYP + b"".join(endless(kind, size=(1 << 40) - 16 * depth) for depth, kind in enumerate(kinds))


def table(kind: bytes, *head: int) -> bytes:
    return inside(*STBL) + endless(kind, struct.pack(f">{len(head) + 1}I", *head, 2**28), size=1 << 39)


def in_moof(content: bytes) -> bytes:
    return box(b"moof", box(b"traf", content * (60_000 // len(content))))


# What a file begins with, and what follows it again and again.
FLOODS = {
    "unknown boxes": (b"", box(b"abcd")),
    "references to tracks": (inside(b"moov", b"trak"), box(b"tref", box(b"chap", bytes(8)))),
    "references in one box": (
        inside(b"moov", b"trak") + endless(b"tref", size=1 << 39),
        box(b"chap", bytes(8)),
    ),
    "boxes": (FTYP, box(b"free")),
    "boxes behind the header": (FTYP + box(b"moov", GOOD), box(b"free")),
    "long headers": (FTYP, box(b"free", large=True)),
    "still images": (FTYP, box(b"meta")),
    "second headers": (FTYP + box(b"moov", GOOD), box(b"moov")),
    "boxes in the header": (inside(b"moov"), box(b"free")),
    "empty containers": (inside(b"moov"), box(b"mdia")),
    "containers": (inside(b"moov"), box(b"mdia", box(b"minf", box(b"free")))),
    "track headers": (inside(b"moov", b"trak"), tkhd()),
    "handlers": (inside(b"moov", b"trak"), hdlr(b"vide")),
    "sample descriptions": (inside(*STBL), stsd(entry())),
    "sample entries": (table(b"stsd", 0), entry()),
    "boxes in a sample entry": (table(b"stsd", 0) + endless(b"avc1", bytes(78), 1 << 38), box(b"pasp")),
    "tables of durations": (inside(*STBL), full(b"stts", 1, 0, 0)),
    "tables of runs": (inside(*STBL), full(b"stsc", 1, 0, 0, 0)),
    "tables of offsets": (inside(*STBL), full(b"co64", 1, 0, 0)),
    "empty fragments": (stream(), box(b"moof")),
    "fragments of one shape": (stream(), fragment(0, 0)),
    "fragments of one shape with long headers": (stream(), box(b"moof", fragment(0, 0)[8:], large=True)),
    "fragments of many shapes": (
        stream(),
        b"".join(box(b"moof", fragment(0, 0)[8:], box(b"free", bytes(at))) for at in range(300)),
    ),
    "fragments of many tracks": (
        stream(),
        b"".join(box(b"moof", box(b"traf", full(b"tfhd", track), SHORT_RUN)) for track in range(500)),
    ),
    "boxes in a fragment": (stream(), in_moof(box(b"free"))),
    "track fragments": (stream(), box(b"moof", box(b"traf") * 8000)),
    "fragment headers": (stream(), in_moof(TFHD)),
    "runs": (stream(), in_moof(SHORT_RUN)),
    "runs with sizes": (stream(), in_moof(RUN)),
    "long runs": (stream(), in_moof(box(b"trun", struct.pack(">II", 0x200, 5000), bytes(20_000)))),
    "boxes in a long fragment": (stream() + endless(b"moof"), box(b"free")),
    "track fragments in a long fragment": (stream() + endless(b"moof"), box(b"traf", TFHD, RUN)),
    "runs in a long fragment": (
        stream() + endless(b"moof") + endless(b"traf", size=1 << 39),
        TFHD + SHORT_RUN,
    ),
}
TABLES = {
    "stts": (table(b"stts", 0), 4_000_000),
    "ctts": (table(b"ctts", 0), 4_000_000),
    "stsz": (table(b"stsz", 0, 0), 4_000_000),
    "stsc": (table(b"stsc", 0), 1_000_000),
    "stco": (table(b"stco", 0), 1_000_000),
    "co64": (table(b"co64", 0), 1_000_000),
}


def flood(start: bytes, unit: bytes) -> Iterator[bytes]:
    repeated = unit * (2 * PIECE // len(unit) + 1)
    data = start + repeated
    while True:
        while len(data) >= PIECE:
            yield data[:PIECE]
            data = data[PIECE:]
        data += repeated


def drown(pieces: Iterator[bytes]) -> tuple[InvalidVideoError, int]:
    """Feeds until the file is refused: the refusal, and how many bytes that took."""
    walk, fed = Mp4Check(FEW_STEPS), 0
    for piece in pieces:
        fed += len(piece)
        try:
            walk.feed(piece)
        except InvalidVideoError as fault:
            return fault, fed
        assert fed < 1 << 26, "the file should have been refused long ago"
    raise AssertionError("a flood does not end")


class Operations:
    """Counts the bytecode operations that are carried out in the package under test."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        self.count += event == "opcode"
        return self

    def __enter__(self) -> Operations:
        self._before = sys.gettrace()
        sys.settrace(self)
        return self

    def __exit__(self, *exception: object) -> None:
        sys.settrace(self._before)


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_is_refused_after_a_number_of_operations_in_keeping_with_the_limit(name: Any) -> None:
    with Operations() as operations:
        fault, _ = drown(flood(*FLOODS[name]))
    assert (fault.code, str(fault)) == ("unsupported_video", MESSAGE)
    assert STEPS // 10 < operations.count < 60 * STEPS


@pytest.mark.parametrize("name", TABLES)
def test_a_long_table_is_refused_before_more_is_read_than_the_limit_allows(name: Any) -> None:
    start, most = TABLES[name]
    fault, fed = drown(flood(start, b"\0\0\0\1"))
    assert str(fault) == MESSAGE
    assert most // 8 < fed < most


def test_an_hour_of_fragments_of_one_frame_with_the_sound_in_its_own_stays_under_the_limit() -> None:
    sound = fragment(0, 1, track_id=2)
    moofs = [
        box(b"moof", full(b"mfhd", 1), part[8:]) + box(b"mdat", b"x") for part in (fragment(0, 1), sound)
    ]
    second = moofs[0] * 60 + moofs[1] * 47

    def pieces() -> Iterator[bytes]:
        yield stream()
        for _ in range(3600):
            yield second

    assert walk_over(pieces())[1].video.samples == 60 * 3600


def test_the_limit_is_the_one_that_was_measured() -> None:
    assert BOUNDED.steps == 7_000_000


def walk_over(pieces: Iterator[bytes]) -> tuple[int, Mp4Info]:
    """Peak memory in bytes of a walk over a file that is never whole in memory, and its answer."""
    walk = Mp4Check(BOUNDED)
    tracemalloc.start()
    try:
        for piece in pieces:
            walk.feed(piece)
        info = walk.finish()
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak, info


def test_media_data_is_skipped_in_constant_memory() -> None:
    def pieces() -> Iterator[bytes]:
        yield FTYP + struct.pack(">I4sQ", 1, b"mdat", 16 + 2**30)
        piece = bytes(2**16)
        for _ in range(2**14):
            yield piece
        yield box(b"moov", GOOD)

    peak, info = walk_over(pieces())
    assert peak < 1_000_000
    assert info.size > 2**30


def test_large_tables_are_summed_in_constant_memory() -> None:
    count = 1_000_000

    def pieces() -> Iterator[bytes]:
        inner = ((b"stsz", 12, 4), (b"stts", 8, 8), (b"stsc", 8, 12), (b"co64", 8, 8))
        size = sum(8 + head + count * width for _, head, width in inner)
        stbl = struct.pack(">I4s", 8 + size + len(stsd(entry())), b"stbl") + stsd(entry())
        yield FTYP + box(b"mdat", bytes(100))
        for depth, kind in enumerate((b"moov", b"trak", b"mdia")):
            yield struct.pack(">I4s", 8 + size + len(stbl) + (2 - depth) * 8 + len(hdlr(b"vide")), kind)
        yield hdlr(b"vide") + stbl
        for kind, head, width in inner:
            numbers = (0, 0, count) if head == 12 else (0, count)
            yield struct.pack(f">I4s{len(numbers)}I", 8 + head + count * width, kind, *numbers)
            piece = b"\0\0\0\1" * 1000 if width < 8 else b"\0\0\0\0\0\0\0\1" * 500
            for _ in range(count * width // len(piece)):
                yield piece

    peak, info = walk_over(pieces())
    assert peak < 1_000_000
    assert info.video.samples == count
