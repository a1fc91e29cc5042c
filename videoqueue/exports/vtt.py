"""WebVTT (W3C): each text as a cue, for `<track>` in browsers."""

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
    lines = ["WEBVTT\n"]
    for cue in cues_of(segments):
        times = f"{clock(cue.start, '.')} --> {clock(cue.end, '.')}"
        lines.append(f"\n{times}\n{_escaped(cue.text)}\n")
        if len(lines) == BATCH:
            yield "".join(lines).encode()
            lines.clear()
    yield "".join(lines).encode()


def _escaped(text: str) -> str:
    """Returns the text without markup. "-->" would begin another cue; its ">" is escaped as well."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
