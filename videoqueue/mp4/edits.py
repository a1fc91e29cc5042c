"""The position of a track's edit list in the file, and the clocks of its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

#: The media time of an edit that shows nothing for its duration.
EMPTY: Final = -1


class TableAt(NamedTuple):
    position: int  # of the first entry in the file, in bytes
    entries: int


@dataclass(frozen=True, kw_only=True)
class EditList:
    """The edit list of a track whose samples are in tables. Media times count from the first sample."""

    table: TableAt  # of `elst`, ISO/IEC 14496-12, 8.6.6
    version: int  # of that box; durations and times have 64 bits in version 1, else 32
    times: TableAt | None  # of `stts`, 8.6.1.2; None when more samples are in fragments
    movie_timescale: int  # ticks a second of the durations of edits
    timescale: int  # ticks a second of the media's times
    media_duration: int  # as declared, in ticks of the media; 0 when the header does not say
    first_time: int  # when the first sample is shown without edits, in ticks of the media
