"""SubRip: each text as a numbered subtitle, for players and editors."""

from __future__ import annotations

from collections.abc import Iterator

from videoqueue.exports.cues import BATCH, clock, cues_of
from videoqueue.pipeline.decode.video_info import VideoInfo
from videoqueue.segments.build import Items, segments_of
from videoqueue.segments.ranges import Segments


def write(items: Items, video: VideoInfo) -> Iterator[bytes]:
    """Yields the bytes of the file."""
    return write_segments(segments_of(items, video))


def write_segments(segments: Segments) -> Iterator[bytes]:
    """Yields the bytes of the file, given the segments."""
    lines: list[str] = []
    for number, cue in enumerate(cues_of(segments), 1):
        # The format has no escapes. Readers take a line with "-->" for times.
        text = cue.text.replace("-->", "->")
        lines.append(f"{number}\n{clock(cue.start, ',')} --> {clock(cue.end, ',')}\n{text}\n\n")
        if len(lines) == BATCH:
            yield "".join(lines).encode()
            lines.clear()
    yield "".join(lines).encode()
