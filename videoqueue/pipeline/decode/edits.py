"""The edit list of a track: which parts are shown, and when. Rewrites it for FFmpeg where that is needed.

ISO/IEC 14496-12, 8.6.6. An edit of duration 0 lasts for the rest of the media; FFmpeg shows nothing of it.
An empty edit behind another one is a pause; FFmpeg shows the beginning of the media again. Behind a track
that has no table of times FFmpeg follows no edit list at all.
"""

from __future__ import annotations

from pathlib import Path
from struct import Struct
from typing import BinaryIO, NamedTuple

import numpy as np

from videoqueue.mp4 import EMPTY, EditList, VideoTrack
from videoqueue.pipeline.decode.errors import unsupported

_SHORT = Struct(">IiI")
_LONG = Struct(">QqI")
_MOST_TICKS = 1 << 48  # of a media, more than a century at any rate in use; FFmpeg adds a few in 63 bits
_BLOCK = 1 << 13  # entries of a table that are summed at a time


class Edit(NamedTuple):
    duration: int  # in ticks of the movie
    time: int  # of the media, in its ticks, or EMPTY
    rate: int


class Edits:
    """The edit list of one track.

    `table` holds its entries as they stand in the file. `media_duration` is in ticks of the media, None when
    not known.
    """

    def __init__(self, edit_list: EditList, table: bytes, media_duration: int | None) -> None:
        self._list = edit_list
        self._form = _LONG if edit_list.version == 1 else _SHORT
        self._edits = [Edit(*entry) for entry in self._form.iter_unpack(table)]
        self._shown = [number for number, edit in enumerate(self._edits) if edit.time != EMPTY]
        self._media_end = None if media_duration is None else edit_list.first_time + media_duration

    @property
    def seconds(self) -> float | None:
        """Returns the seconds from the first edit's start to the last shown frame's end; None if unknown."""
        if self._media_end is None or not self._shown:
            return None
        begin = end = 0
        for edit in self._edits:
            duration = self._ticks(edit)
            if edit.time != EMPTY and self._media_end > edit.time:
                end = begin + min(duration, self._media_end - edit.time)
            begin += duration
        # FFmpeg shows the first frame at once when the first edit begins before it.
        end -= max(0, self._list.first_time - self._edits[self._shown[0]].time)
        return end / self._list.timescale if end > 0 else None

    def rewritten(self) -> bytes | None:
        """Returns entries that FFmpeg reads as players read the file's; None when the file's own do.

        Raises:
            InvalidVideoError: the fields of the file cannot hold the numbers.
        """
        if not self._shown:
            return None
        edits = [self._told(number) for number in range(len(self._edits))]
        return None if edits == self._edits else b"".join(self._form.pack(*edit) for edit in edits)

    def _told(self, number: int) -> Edit:
        edit = self._edits[number]
        most, latest = self._largest
        if edit.time == EMPTY and number > self._shown[0]:
            _check_room(self._media_end or 0, latest)
            return edit._replace(time=latest)  # where the media has no frame
        if edit.time == EMPTY or edit.duration:
            return edit
        rest = 0 if self._media_end is None else self._movie_ticks(max(0, self._media_end - edit.time))
        _check_room(rest, most)
        return edit._replace(duration=most if number == self._shown[-1] else rest)

    @property
    def _largest(self) -> tuple[int, int]:
        """The largest duration and time that the fields of the file hold and that FFmpeg can add."""
        duration, time = (2**62, _MOST_TICKS) if self._form is _LONG else (2**32 - 1, 2**31 - 1)
        return min(duration, self._movie_ticks(_MOST_TICKS)), time

    def _ticks(self, edit: Edit) -> int:
        """Duration in ticks of the media, rounded as FFmpeg does."""
        if edit.duration == 0 and edit.time != EMPTY:
            return max(0, (self._media_end or 0) - edit.time)
        movie = self._list.movie_timescale
        return (2 * edit.duration * self._list.timescale + movie) // (2 * movie)

    def _movie_ticks(self, ticks: int) -> int:
        return -(-ticks * self._list.movie_timescale // self._list.timescale)


def _check_room(value: int, most: int) -> None:
    if value > most:
        raise unsupported(
            "The edit list of the video track cannot be followed: the video is longer than its numbers can "
            "say. Write the file anew, for example with `ffmpeg -i in.mp4 -c copy out.mp4`."
        )


def read_edits(file: Path, track: VideoTrack | None) -> Edits | None:
    """Returns the edit list of a track, None when it has none.

    Raises:
        OSError: the file cannot be read.
    """
    if track is None or track.edits is None:
        return None
    edits = track.edits
    size = (_LONG if edits.version == 1 else _SHORT).size
    with file.open("rb") as stream:
        stream.seek(edits.table.position)
        table = stream.read(size * edits.table.entries)
        return Edits(edits, table, _media_duration(stream, edits))


def _media_duration(stream: BinaryIO, edits: EditList) -> int | None:
    """The sum of the samples' durations. A header that declares less counts, as it does for FFmpeg."""
    if edits.times is None:
        return None
    stream.seek(edits.times.position)
    total, left = 0, edits.times.entries
    while left and (block := stream.read(8 * min(left, _BLOCK))):
        counts, durations = np.frombuffer(block, ">u4").astype(np.uint64).reshape(-1, 2).T
        total += int(counts @ durations)
        left -= len(counts)
    return min(total, edits.media_duration or total)
