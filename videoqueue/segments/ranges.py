"""The ranges of time that results are summed up in. Times are seconds; boxes are as in `pipeline.results`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypedDict

from videoqueue.pipeline.results import Box

#: The maximum number of ranges of one job, labels and texts together.
MAX_RANGES: Final = 50_000
#: The maximum number of characters in the texts of all ranges together.
MAX_CHARACTERS: Final = 8_000_000


class LabelSegment(TypedDict):
    """A range in which objects with a label are seen.

    `confidence` is the largest; `peak_count` is the largest number of such objects in one frame.
    """

    label: str
    start: float
    end: float
    confidence: float
    peak_count: int


class TextSegment(TypedDict):
    """A range in which a text is seen; `text`, `confidence` and `box` are of its surest reading."""

    text: str
    start: float
    end: float
    confidence: float
    box: Box


class Segments(TypedDict):
    """All ranges, each list sorted by start, then by label or text; `truncated` if there were more."""

    labels: list[LabelSegment]
    texts: list[TextSegment]
    truncated: bool


def at_least(segments: Segments, confidence: float) -> Segments:
    """Returns the ranges whose confidence is at least `confidence`."""
    return {
        "labels": [found for found in segments["labels"] if found["confidence"] >= confidence],
        "texts": [found for found in segments["texts"] if found["confidence"] >= confidence],
        "truncated": segments["truncated"],
    }


@dataclass
class Room:
    """How many ranges can still begin. None begins after one was refused, so that the first ones are kept."""

    ranges: int = MAX_RANGES
    characters: int = MAX_CHARACTERS
    is_full: bool = False

    def take(self, characters: int) -> bool:
        """Returns whether a range with a label or text of this length may begin."""
        if self.ranges < 1 or self.characters < characters:
            self.is_full = True
        if self.is_full:
            return False
        self.ranges -= 1
        self.characters -= characters
        return True

    def grow(self, characters: int) -> bool:
        """Returns whether the text of a range may become longer by this number, which can be negative."""
        if self.characters < characters:
            return False
        self.characters -= characters
        return True
