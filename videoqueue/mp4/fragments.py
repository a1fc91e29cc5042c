"""The boxes of fragments: samples that are declared beside the media data, not in the tables of a track."""

from __future__ import annotations

from struct import unpack

from videoqueue.mp4.refusals import MAX_SAMPLES, MAX_TRACKS, refuse_samples
from videoqueue.mp4.tracks import Track
from videoqueue.mp4.walk import Steps, Walk, numbers


class Fragments:
    """The sum over all fragments of a file."""

    def __init__(self, walk: Walk) -> None:
        self.seen = False
        self.chosen: Track | None = None  # the video track whose samples are counted apart
        self.chosen_samples = 0
        self.samples = self.bytes = 0
        self._walk = walk
        self._default_sizes: dict[int, int] = {}  # `trex`: bytes of a sample by track
        self._track = self._sample_size = 0  # `tfhd`: which track the next runs belong to
        self.boxes = {b"trex": self._trex, b"tfhd": self._tfhd, b"trun": self._trun}

    @property
    def announced(self) -> bool:
        """Whether the file is made for fragments, even if none has followed."""
        return bool(self._default_sizes) or self.seen

    def _trex(self, end: int) -> Steps[None]:
        _, track_id, _, _, size, _ = unpack(">6I", (yield from self._walk.take(end, 24)))
        if len(self._default_sizes) < MAX_TRACKS:
            self._default_sizes[track_id] = size

    def _tfhd(self, end: int) -> Steps[None]:
        flags, self._track = unpack(">II", (yield from self._walk.take(end, 8)))
        self._sample_size = self._default_sizes.get(self._track, 0)
        if flags & 0x10:
            before = 8 * bool(flags & 0x1) + 4 * bool(flags & 0x2) + 4 * bool(flags & 0x8)
            (self._sample_size,) = unpack(">I", (yield from self._walk.take(end, before + 4))[before:])

    def _trun(self, end: int) -> Steps[None]:
        flags, count = unpack(">II", (yield from self._walk.take(end, 8)))
        self.samples += count
        if self.samples > MAX_SAMPLES:
            refuse_samples(self.samples)
        if self.chosen and self._track == self.chosen.id:
            self.chosen_samples += count
        before = 4 * bool(flags & 0x1) + 4 * bool(flags & 0x4)
        yield from self._walk.take(end, before)
        fields = (flags >> 8 & 0xF).bit_count()
        if not flags & 0x200:
            self.bytes += count * self._sample_size
            self._walk.check_table(end, count, fields * 4)
            return
        size_at = flags >> 8 & 1  # behind the duration, when there is one

        def use(block: bytes) -> None:
            self.bytes += sum(numbers(block)[size_at::fields])

        yield from self._walk.table(end, count, fields * 4, use)
