"""The boxes of fragments: samples that are declared beside the media data, not in the tables of a track."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import mul
from struct import Struct, unpack
from typing import Final, TypeAlias

from videoqueue.mp4.fragment_sums import FragmentSums, Last, bytes_before_size, bytes_before_table, columns
from videoqueue.mp4.refusals import refuse_as_damaged, refuse_as_mixed, refuse_as_too_short
from videoqueue.mp4.stencils import Outline, Stencils
from videoqueue.mp4.tables import SUM_COST, column_sum, long_column_sum
from videoqueue.mp4.tracks import CONTAINERS, TRACK_BOXES
from videoqueue.mp4.walk import HEADER, OPENING, Steps, Walk

FRAGMENT_BOXES: Final = frozenset({b"moof", b"traf", b"tfhd", b"trun"})

_HELD: Final = 1 << 16  # bytes of a fragment's boxes up to which they are read as one
_RECOGNISING: Final = 10  # steps
_READING: Final = 6  # for each box
_READING_HEAD: Final = 4  # more
_READING_RUN: Final = 9
_STRUCTURE: Final = FRAGMENT_BOXES | CONTAINERS | TRACK_BOXES.keys() | {b"trex"}
_WORD: Final = Struct(">I").unpack_from
_LONG: Final = Struct(">Q").unpack_from
_OFFSET: Final = Struct(">i").unpack_from
_WORDS: Final = Struct(">II").unpack_from

_Reader: TypeAlias = Callable[[memoryview, int, int, Outline | None], None]


class Fragments:
    """Reads all fragments of a file and adds up what they declare."""

    def __init__(self, walk: Walk) -> None:
        self.seen = False
        self.sums = FragmentSums(walk.limits)
        self._counting = False
        self._walk = walk
        self._stencils = Stencils()
        self._recognised: tuple[int, bytes] | None = None  # position and content of the last fragment
        self._default_sizes: dict[int, int] = {}  # `trex`: bytes of a sample by track
        # `tfhd`: bytes of a sample of the next runs, and where in the fragment that is said
        self._sample_size = self._size_at = 0
        self._in_moof: dict[bytes, _Reader] = {b"traf": self._traf}
        self._in_traf: dict[bytes, _Reader] = {b"tfhd": self._tfhd, b"trun": self._trun}

    @property
    def announced(self) -> bool:
        """Returns True when the file is made for fragments, even if none has followed."""
        return bool(self._default_sizes) or self.seen

    def count_for(self, track_ids: Iterable[int]) -> None:
        """From now on the samples of these tracks are counted; those of fragments before cannot be read."""
        self.sums.by_track = dict.fromkeys(track_ids, 0)
        self._counting = True

    def cut_at(self, size: int) -> int | None:
        """Leaves the last fragment out if a file of this size cuts it off. Returns its start, else None."""
        last = self._read_again(*self._recognised) if self._recognised else self.sums.last
        if last.is_read and last.data_end <= size:
            return None
        self.sums.take_out(last)
        return last.start

    def _read_again(self, start: int, body: bytes) -> Last:
        limits = self._walk.limits
        again = Fragments(Walk(limits))
        again._default_sizes = self._default_sizes
        again.sums = FragmentSums(limits, self.sums.by_track, start)
        again._boxes(memoryview(body), 0, len(body), again._in_moof, None)
        return again.sums.last

    def read_trex(self, end: int) -> Steps[None]:
        """Reads the default size of a track's samples. Yields when it needs more of the file."""
        _, track_id, _, _, size, _ = unpack(">6I", (yield from self._walk.read(end, 24)))
        if len(self._default_sizes) < self._walk.limits.tracks:
            self._default_sizes[track_id] = size

    def read_moof(self, end: int) -> Steps[None]:
        """Adds up the samples of one fragment. Yields when it needs more of the file."""
        self.seen = True
        walk = self._walk
        self._recognised = None
        self.sums.begin(walk.position - 8)
        last = self.sums.last
        if end - walk.position > _HELD:
            walk.spend(OPENING)
            yield from self._long_moof(end)
            last.is_read = True
            return
        body = memoryview((yield from walk.take(end - walk.position)))
        last.is_read = True
        if steps := self.recognise(body, 0, len(body), last.start):
            walk.charge(steps)
            return
        walk.spend(OPENING)
        # In front of the header nothing says which tracks there are.
        outline = self._stencils.outline(len(body)) if self._counting else None
        self._boxes(body, 0, len(body), self._in_moof, outline)
        if outline:
            outline.by_track = last.by_track
            self._stencils.add(body, outline)

    def recognise(self, data: memoryview, start: int, end: int, position: int) -> int:
        """Adds up a fragment if it looks like an earlier one. Returns the steps that took, 0 if it does not.

        `start` and `end` enclose its content in `data`; `position` is where its box begins in the file.
        """
        body = bytes(data[start:end]) if self._stencils.may_match(end - start) else b""
        stencil = self._stencils.match(body)
        if stencil is None:
            return 0
        self.sums.add(stencil.samples, stencil.bytes + sum(map(mul, stencil.sizes(body), stencil.weights)))
        for track, samples in stencil.by_track.items():
            self.sums.by_track[track] += samples
        self._recognised = position, body
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
            if kind not in _STRUCTURE:
                after = min(after, end)
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
        self._sample_size = self._size_at = 0
        self.sums.set_track(0)
        self._boxes(data, at, end, self._in_traf, outline)

    def _tfhd(self, data: memoryview, at: int, end: int, outline: Outline | None) -> None:
        if end - at < 8:
            refuse_as_too_short()
        self._walk.spend(_READING_HEAD)
        flags, track = _WORDS(data, at)
        self._sample_size, self._size_at = self._default_sizes.get(track, 0), 0
        if flags & 0x10:
            self._size_at = at + 8 + bytes_before_size(flags)
            if end - self._size_at < 4:
                refuse_as_too_short()
            (self._sample_size,) = _WORD(data, self._size_at)
        base = None
        if flags & 0x1:
            if end - at < 16:
                refuse_as_too_short()
            (base,) = _LONG(data, at + 8)
        self.sums.set_track(track, base)
        if outline:
            outline.fixed.append((at, at + 8))

    def _trun(self, data: memoryview, at: int, end: int, outline: Outline | None) -> None:
        if end - at < 8:
            refuse_as_too_short()
        self._walk.spend(_READING_RUN)
        flags, count = _WORDS(data, at)
        start = at + 8 + bytes_before_table(flags)
        if start > end:
            refuse_as_too_short()
        self.sums.add_run(count, _OFFSET(data, at + 8)[0] if flags & 0x1 else None)
        fields, size_column = columns(flags)
        size = count * fields * 4
        if size > end - start:
            refuse_as_damaged("a table is longer than its box")
        if size_column is None:
            self.sums.add_data(count * self._sample_size)
        else:
            self.sums.add_data(long_column_sum(data[start : start + size], fields, size_column))
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

    # A fragment that is too long for that

    def _long_moof(self, end: int) -> Steps[None]:
        while child := (yield from self._walk.child(end, _STRUCTURE)):
            kind, child_end = child
            if kind == b"traf":
                self._walk.spend(OPENING)
                self._sample_size = 0
                self.sums.set_track(0)
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
            head += yield from self._walk.read(end, bytes_before_size(flags) + 4)
        elif flags & 0x1:
            head += yield from self._walk.read(end, 8)
        self._tfhd(memoryview(head), 0, len(head), None)

    def _long_trun(self, end: int) -> Steps[None]:
        flags, count = unpack(">II", (yield from self._walk.read(end, 8)))
        head = yield from self._walk.read(end, bytes_before_table(flags))
        self.sums.add_run(count, _OFFSET(head)[0] if flags & 0x1 else None)
        fields, size_column = columns(flags)
        if size_column is None:
            self.sums.add_data(count * self._sample_size)
            self._walk.check_table(end, count, fields * 4)
            return
        column = size_column

        def use(block: bytes) -> None:
            self.sums.add_data(column_sum(block, fields, column))

        yield from self._walk.table(end, count, fields * 4, SUM_COST, use)
