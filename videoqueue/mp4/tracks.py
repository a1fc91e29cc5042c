"""The boxes of a track: its header, its edits and its tables of samples."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct, unpack

from videoqueue.mp4.edits import EMPTY, TableAt
from videoqueue.mp4.entries import read_stsd
from videoqueue.mp4.refusals import refuse_as_damaged, refuse_edits
from videoqueue.mp4.tables import (
    BLOCK,
    EDITS_COST,
    OFFSETS_COST,
    RUNS_COST,
    SUM_COST,
    column_sum,
    numbers,
)
from videoqueue.mp4.track import Track
from videoqueue.mp4.walk import OPENING, Steps, Walk

# References of a track that only goes with another one: ISO/IEC 14496-12, 8.3.3, and 23008-12, 7.
_AUXILIARY = frozenset({b"thmb", b"auxl", b"vdep", b"vplx"})
# Behind version, flags and two dates: ticks a second, duration.
_CLOCK = Struct(">12xII")
_LONG_CLOCK = Struct(">20xIQ")


def _tkhd(walk: Walk, track: Track, end: int) -> Steps[None]:
    head = yield from walk.read(end, 84)
    at = 12
    if head[0] == 1:
        head += yield from walk.read(end, 12)
        at = 20
    (track.id,) = unpack(">I", head[at : at + 4])
    track.enabled = bool(head[3] & 1)
    *track_matrix, width, height = unpack(">9i2I", head[-44:])  # sizes are 16.16 fixed point
    track.matrix = tuple(track_matrix)
    track.pixels = max(track.pixels, (width >> 16) * (height >> 16))


def read_clock(walk: Walk, end: int) -> Steps[tuple[int, int]]:
    """Returns ticks a second and duration in ticks of `mvhd` or `mdhd`; 0 for what it does not say."""
    head = yield from walk.take(min(_LONG_CLOCK.size, end - walk.position))
    form = _LONG_CLOCK if head[:1] == b"\1" else _CLOCK
    if len(head) < form.size:
        return 0, 0
    timescale, duration = form.unpack_from(head)
    unknown = duration == (1 << 64 if form is _LONG_CLOCK else 1 << 32) - 1
    return timescale, 0 if unknown else duration


def _mdhd(walk: Walk, track: Track, end: int) -> Steps[None]:
    track.timescale, track.media_duration = yield from read_clock(walk, end)


def _tref(walk: Walk, track: Track, end: int) -> Steps[None]:
    while end - walk.position >= 8:
        kind, child_end = yield from walk.header(end, strict=())
        walk.spend(OPENING)
        if kind in _AUXILIARY:
            track.is_auxiliary = True
        elif kind == b"chap":
            count = min(walk.limits.tracks - len(track.chapters), (child_end - walk.position) // 4)
            track.chapters.update(numbers((yield from walk.take(4 * count))))
        yield from walk.skip_to(child_end)


def _hdlr(walk: Walk, track: Track, end: int) -> Steps[None]:
    component, handler = unpack(">4x4s4s", (yield from walk.read(end, 12)))
    # QuickTime has a second one, which says where the data lies.
    if handler in (b"vide", b"soun") or not (track.handler or component == b"dhlr"):
        track.handler = handler


def _elst(walk: Walk, track: Track, end: int) -> Steps[None]:
    version, count = unpack(">B3xI", (yield from walk.read(end, 8)))
    if count > walk.limits.edits:
        refuse_edits(count, walk.limits)
    entry = Struct(">8xq4x" if version == 1 else ">4xi4x")

    def use(block: bytes) -> None:
        track.is_hidden = track.is_hidden and all(time == EMPTY for (time,) in entry.iter_unpack(block))

    if count:  # of several lists the last one counts
        track.edit_table, track.edit_version = TableAt(walk.position, count), version
        track.is_hidden = True
    yield from walk.table(end, count, entry.size, EDITS_COST, use)


# Tables of samples


def _stts(walk: Walk, track: Track, end: int) -> Steps[None]:
    _, count = unpack(">II", (yield from walk.read(end, 8)))
    track.time_table = TableAt(walk.position, count)

    def use(block: bytes) -> None:
        track.timed += column_sum(block, 2, 0)
        if len(track.durations) < 2:
            track.durations = (track.durations + list(numbers(block[:16])[1::2]))[:2]

    yield from walk.table(end, count, 8, SUM_COST, use)


def _ctts(walk: Walk, track: Track, end: int) -> Steps[None]:
    def use(block: bytes) -> None:
        if not track.shifted:
            (track.first_offset,) = unpack(">i", block[4:8])
        track.shifted += column_sum(block, 2, 0)

    yield from _counted_table(walk, end, 8, SUM_COST, use)


def _stss(walk: Walk, track: Track, end: int) -> Steps[None]:
    _, count = unpack(">II", (yield from walk.read(end, 8)))
    walk.check_table(end, count, 4)


def _stsc(walk: Walk, track: Track, end: int) -> Steps[None]:
    def use(block: bytes) -> None:
        track.runs.add(block)

    yield from _counted_table(walk, end, 12, RUNS_COST, use)


def _stco(walk: Walk, track: Track, end: int) -> Steps[None]:
    yield from _offsets(walk, track, end, 4)


def _co64(walk: Walk, track: Track, end: int) -> Steps[None]:
    yield from _offsets(walk, track, end, 8)


def _offsets(walk: Walk, track: Track, end: int, width: int) -> Steps[None]:
    def use(block: bytes) -> None:
        offsets = numbers(block, width)
        track.chunks += len(offsets)
        track.last_offset = max(track.last_offset, *offsets)
        track.last_is_last = offsets[-1] == track.last_offset

    yield from _counted_table(walk, end, width, OFFSETS_COST, use)


def _stsz(walk: Walk, track: Track, end: int) -> Steps[None]:
    _, size, count = unpack(">III", (yield from walk.read(end, 12)))
    track.samples += count
    track.sample_bytes += size * count
    track.same_size = size

    def use(block: bytes) -> None:
        track.sample_bytes += column_sum(block, 1, 0)
        track.last_sizes = (track.last_sizes + block)[-BLOCK:]

    if size == 0:
        yield from walk.table(end, count, 4, SUM_COST, use)


def _stz2(walk: Walk, track: Track, end: int) -> Steps[None]:
    bits, count = unpack(">7xBI", (yield from walk.read(end, 12)))
    if bits not in (4, 8, 16):
        refuse_as_damaged("a table of sample sizes has a width that does not exist")
    track.samples += count
    walk.check_table(end, (count * bits + 7) // 8, 1)  # sizes too small to be worth a sum


def _counted_table(
    walk: Walk, end: int, entry_size: int, cost: int, use: Callable[[bytes], None]
) -> Steps[None]:
    """A table behind version, flags and the number of its entries."""
    _, count = unpack(">II", (yield from walk.read(end, 8)))
    yield from walk.table(end, count, entry_size, cost, use)


# `udta` and `meta` stay closed: QuickTime writes them in ways of its own, and they hold no samples.
CONTAINERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"mvex"})
TRACK_BOXES: dict[bytes, Callable[[Walk, Track, int], Steps[None]]] = {
    b"tkhd": _tkhd,
    b"tref": _tref,
    b"mdhd": _mdhd,
    b"hdlr": _hdlr,
    b"elst": _elst,
    b"stsd": read_stsd,
    b"stts": _stts,
    b"ctts": _ctts,
    b"stss": _stss,
    b"stsc": _stsc,
    b"stco": _stco,
    b"co64": _co64,
    b"stsz": _stsz,
    b"stz2": _stz2,
}
