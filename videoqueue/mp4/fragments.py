"""The boxes of fragments: samples that are declared beside the media data, not in the tables of a track."""

from __future__ import annotations

from collections.abc import Callable
from operator import mul
from struct import Struct, unpack
from typing import Final, TypeAlias

from videoqueue.mp4.refusals import (
    MAX_SAMPLES,
    MAX_TRACKS,
    refuse_as_damaged,
    refuse_as_mixed,
    refuse_as_too_short,
    refuse_samples,
)
from videoqueue.mp4.stencils import Outline, Stencils
from videoqueue.mp4.tables import SUM_COST, column_sum, long_column_sum
from videoqueue.mp4.tracks import CONTAINERS, TRACK_BOXES, Track
from videoqueue.mp4.walk import HEADER, OPENING, Steps, Walk

FRAGMENT_BOXES: Final = frozenset({b"moof", b"traf", b"tfhd", b"trun"})

_HELD: Final = 1 << 16  # bytes of a fragment's boxes up to which they are read as one
_RECOGNISING: Final = 10  # steps
_READING: Final = 6  # for each box
_READING_RUN: Final = 9  # more
_STRUCTURE: Final = FRAGMENT_BOXES | CONTAINERS | TRACK_BOXES.keys() | {b"trex"}
_WORD: Final = Struct(">I").unpack_from
_WORDS: Final = Struct(">II").unpack_from

_Reader: TypeAlias = Callable[[memoryview, int, int, Outline | None], None]


class Fragments:
    """The sum over all fragments of a file."""

    def __init__(self, walk: Walk) -> None:
        self.seen = False
        self.chosen: Track | None = None  # the video track whose samples are counted apart
        self.chosen_samples = 0
        self.samples = self.bytes = 0
        self._walk = walk
        self._stencils = Stencils()
        self._default_sizes: dict[int, int] = {}  # `trex`: bytes of a sample by track
        # `tfhd`: the track of the next runs, bytes of a sample, and where in the fragment those are said
        self._track = self._sample_size = self._size_at = 0
        self._in_moof: dict[bytes, _Reader] = {b"traf": self._traf}
        self._in_traf: dict[bytes, _Reader] = {b"tfhd": self._tfhd, b"trun": self._trun}

    @property
    def announced(self) -> bool:
        """Whether the file is made for fragments, even if none has followed."""
        return bool(self._default_sizes) or self.seen

    def read_trex(self, end: int) -> Steps[None]:
        _, track_id, _, _, size, _ = unpack(">6I", (yield from self._walk.read(end, 24)))
        if len(self._default_sizes) < MAX_TRACKS:
            self._default_sizes[track_id] = size

    def read_moof(self, end: int) -> Steps[None]:
        self.seen = True
        walk = self._walk
        if end - walk.position > _HELD:
            walk.spend(OPENING)
            yield from self._long_moof(end)
            return
        body = memoryview((yield from walk.take(end - walk.position)))
        if steps := self.recognise(body, 0, len(body)):
            walk.charge(steps)
            return
        walk.spend(OPENING)
        # Before the header nothing says which track is the chosen one.
        outline = self._stencils.outline(len(body)) if self.chosen else None
        self._boxes(body, 0, len(body), self._in_moof, outline)
        if outline:
            self._stencils.add(body, outline)

    def recognise(self, data: memoryview, start: int, end: int) -> int:
        """Accounts for a fragment if it looks like an earlier one: steps that took, 0 if it does not."""
        stencil = self._stencils.match(data, start, end)
        if stencil is None:
            return 0
        self.samples += stencil.samples
        if self.samples > MAX_SAMPLES:
            refuse_samples(self.samples)
        self.chosen_samples += stencil.chosen_samples
        self.bytes += stencil.bytes + sum(map(mul, stencil.sizes(data, start), stencil.weights))
        return _RECOGNISING

    # A fragment that is held as a whole

    def _boxes(
        self, data: memoryview, at: int, end: int, readers: dict[bytes, _Reader], outline: Outline | None
    ) -> None:
        while end - at >= 8:
            size, kind = HEADER.unpack_from(data, at)
            body = at + 8
            if size == 0:
                size = end - at
            elif size == 1:
                body += 8
                size = int.from_bytes(data[at + 8 : body], "big")
            after = at + size
            if not body <= after <= end:
                refuse_as_damaged("a box is larger than what contains it, or smaller than its own header")
            self._walk.spend(_READING)
            if outline:
                outline.fixed.append((at, body))
            if kind in readers:
                readers[kind](data, body, after, outline)
            elif kind in _STRUCTURE:
                refuse_as_mixed()
            at = after

    def _traf(self, data: memoryview, at: int, end: int, outline: Outline | None) -> None:
        self._track = self._sample_size = self._size_at = 0
        self._boxes(data, at, end, self._in_traf, outline)

    def _tfhd(self, data: memoryview, at: int, end: int, outline: Outline | None) -> None:
        if end - at < 8:
            refuse_as_too_short()
        flags, self._track = _WORDS(data, at)
        self._sample_size, self._size_at = self._default_sizes.get(self._track, 0), 0
        if flags & 0x10:
            self._size_at = at + 8 + _bytes_before_size(flags)
            if end - self._size_at < 4:
                refuse_as_too_short()
            (self._sample_size,) = _WORD(data, self._size_at)
        if outline:
            outline.fixed.append((at, at + 8))

    def _trun(self, data: memoryview, at: int, end: int, outline: Outline | None) -> None:
        if end - at < 8:
            refuse_as_too_short()
        self._walk.spend(_READING_RUN)
        flags, count = _WORDS(data, at)
        self._count_run(count)
        start = at + 8 + _bytes_before_table(flags)
        if start > end:
            refuse_as_too_short()
        fields, size_column = _columns(flags)
        size = count * fields * 4
        if size > end - start:
            refuse_as_damaged("a table is longer than its box")
        if size_column is None:
            self.bytes += count * self._sample_size
        else:
            self.bytes += long_column_sum(data[start : start + size], fields, size_column)
        if outline:
            outline.fixed.append((at, at + 8))
            if size_column is not None:
                first = start + 4 * size_column
                outline.add_sizes(range(first, first + size, 4 * fields))
            elif self._size_at:
                outline.weights[self._size_at] = outline.weights.get(self._size_at, 0) + count
            else:
                outline.bytes += count * self._sample_size
            outline.samples += count
            outline.chosen_samples += count * self._is_chosen

    # A fragment that is too long for that

    def _long_moof(self, end: int) -> Steps[None]:
        while child := (yield from self._walk.child(end, _STRUCTURE)):
            kind, child_end = child
            if kind == b"traf":
                self._walk.spend(OPENING)
                self._track = self._sample_size = 0
                yield from self._long_traf(child_end)
            elif kind in _STRUCTURE:
                refuse_as_mixed()
            yield from self._walk.skip_to(child_end)

    def _long_traf(self, end: int) -> Steps[None]:
        while child := (yield from self._walk.child(end, _STRUCTURE)):
            kind, child_end = child
            if kind in self._in_traf:
                self._walk.spend(OPENING)
                yield from (self._long_tfhd if kind == b"tfhd" else self._long_trun)(child_end)
            elif kind in _STRUCTURE:
                refuse_as_mixed()
            yield from self._walk.skip_to(child_end)

    def _long_tfhd(self, end: int) -> Steps[None]:
        head = yield from self._walk.read(end, 8)
        (flags,) = _WORD(head)
        if flags & 0x10:
            head += yield from self._walk.read(end, _bytes_before_size(flags) + 4)
        self._tfhd(memoryview(head), 0, len(head), None)

    def _long_trun(self, end: int) -> Steps[None]:
        flags, count = unpack(">II", (yield from self._walk.read(end, 8)))
        self._count_run(count)
        yield from self._walk.read(end, _bytes_before_table(flags))
        fields, size_column = _columns(flags)
        if size_column is None:
            self.bytes += count * self._sample_size
            self._walk.check_table(end, count, fields * 4)
            return
        column = size_column

        def use(block: bytes) -> None:
            self.bytes += column_sum(block, fields, column)

        yield from self._walk.table(end, count, fields * 4, SUM_COST, use)

    # Sums

    @property
    def _is_chosen(self) -> bool:
        return self.chosen is not None and self._track == self.chosen.id

    def _count_run(self, count: int) -> None:
        self.samples += count
        if self.samples > MAX_SAMPLES:
            refuse_samples(self.samples)
        self.chosen_samples += count * self._is_chosen


def _bytes_before_size(flags: int) -> int:
    return 8 * bool(flags & 0x1) + 4 * bool(flags & 0x2) + 4 * bool(flags & 0x8)


def _bytes_before_table(flags: int) -> int:
    return 4 * bool(flags & 0x1) + 4 * bool(flags & 0x4)


def _columns(flags: int) -> tuple[int, int | None]:
    """How many numbers a `trun` has for each sample, and which of them is the size."""
    return (flags >> 8 & 0xF).bit_count(), flags >> 8 & 1 if flags & 0x200 else None
