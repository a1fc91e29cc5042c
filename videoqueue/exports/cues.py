"""What the formats of subtitles have in common: the texts of the segments as cues."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from videoqueue.segments.ranges import Segments

#: Control characters, line and paragraph separators: a line feed would begin another line or cue.
_BREAKS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
#: Cues that are yielded at once.
BATCH: Final = 500


@dataclass(frozen=True)
class Cue:
    """A text on one line, and its times in milliseconds; `end` is after `start`."""

    start: int
    end: int
    text: str


def cues_of(segments: Segments) -> Iterator[Cue]:
    """Yields a cue for each text, sorted by start. Times below 0 become 0."""
    for found in segments["texts"]:
        if text := _BREAKS.sub(" ", found["text"]).strip():
            start = max(0, round(found["start"] * 1000))
            yield Cue(start, max(start + 1, round(found["end"] * 1000)), text)


def clock(milliseconds: int, point: str) -> str:
    """Returns a time as hours, minutes, seconds and milliseconds; `point` separates the last two."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{rest:03}"
