"""Sums of what fragments declare: samples, bytes, and where the samples of the last fragment end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from videoqueue.mp4.limits import CheckLimits
from videoqueue.mp4.refusals import refuse_samples


@dataclass(slots=True)
class Last:
    """The fragment that was begun last, which may be cut off."""

    start: int = 0  # of its box in the file
    is_read: bool = True
    samples: int = 0
    size: int = 0  # bytes of samples
    by_track: dict[int, int] = field(default_factory=dict)
    data_end: int = 0  # position in the file behind its samples


class FragmentSums:
    """Samples of all tracks together, and of those tracks that are counted.

    Where samples lie: ISO/IEC 14496-12, 8.8.7 and 8.8.8. A run begins at its offset from the base of its
    track, which is where the fragment's box begins unless `tfhd` says otherwise; without an offset it follows
    the run before.
    """

    def __init__(self, limits: CheckLimits, track_ids: Iterable[int] = (), start: int = 0) -> None:
        self._limits = limits
        self.samples = self.size = 0
        self.by_track = dict.fromkeys(track_ids, 0)
        self.last = Last(start)
        self._track = self._base = self._next = 0

    def begin(self, start: int) -> None:
        """A fragment begins at this position of the file."""
        self.last = Last(start, is_read=False)

    def set_track(self, track_id: int, base: int | None = None) -> None:
        """The runs that follow belong to this track; their offsets count from the base."""
        self._track = track_id
        self._base = self._next = self.last.start if base is None else base

    def add_run(self, samples: int, offset: int | None = None) -> None:
        """A run of samples begins; `add_data` says how long they are."""
        last = self.last
        self.add(samples, 0)
        last.samples += samples
        if self._track in self.by_track:
            self.by_track[self._track] += samples
            last.by_track[self._track] = last.by_track.get(self._track, 0) + samples
        if offset is not None:
            self._next = self._base + offset

    def add_data(self, size: int) -> None:
        self.size += size
        if size:
            last = self.last
            last.size += size
            self._next += size
            last.data_end = max(last.data_end, self._next)

    def add(self, samples: int, size: int) -> None:
        self.samples += samples
        self.size += size
        if self.samples > self._limits.samples:
            refuse_samples(self.samples, self._limits)

    def take_out(self, last: Last) -> None:
        self.samples -= last.samples
        self.size -= last.size
        for track, samples in last.by_track.items():
            self.by_track[track] -= samples


def bytes_before_size(flags: int) -> int:
    """Returns how much of a `tfhd` with these flags is between the track_ID and the size of samples."""
    return 8 * bool(flags & 0x1) + 4 * bool(flags & 0x2) + 4 * bool(flags & 0x8)


def bytes_before_table(flags: int) -> int:
    """Returns how much of a `trun` with these flags is between the number of samples and the table."""
    return 4 * bool(flags & 0x1) + 4 * bool(flags & 0x4)


def columns(flags: int) -> tuple[int, int | None]:
    """Returns how many numbers a `trun` has for each sample, and which of them is the size, if any."""
    return (flags >> 8 & 0xF).bit_count(), flags >> 8 & 1 if flags & 0x200 else None
