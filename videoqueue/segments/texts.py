"""The ranges of the texts in a video."""

from __future__ import annotations

from typing import Final

from videoqueue.pipeline.results import Box, TextBlock
from videoqueue.segments.ranges import Room, TextSegment
from videoqueue.segments.spelling import MAX_COMPARED, MAX_EFFORT, SIMILARITY, folded

#: Sightings are matched with ranges that ended a shorter time ago than the gap; the clock has microseconds.
_DIGITS: Final = 6
#: Comparing the boxes of two similar texts takes as long as comparing this many characters.
_EFFORT_OF_MATCH: Final = 100


class TextRange:
    """One range; `end` is that of its last frame but one until the next frame arrives."""

    __slots__ = ("box", "confidence", "end", "frame", "key", "last_box", "start", "text")

    def __init__(self, block: TextBlock, key: str, time: float, frame: int) -> None:
        self.start = self.end = time
        self.frame = frame
        self.key = key
        self.text, self.confidence = block["text"], block["confidence"]
        self.box = self.last_box = block["box"]

    def segment(self) -> TextSegment:
        """Returns the range as it is served."""
        return {
            "text": self.text,
            "start": self.start,
            "end": self.end,
            "confidence": self.confidence,
            "box": self.box,
        }


class TextRanges:
    """Builds the ranges from the text blocks of each frame, in order."""

    def __init__(self, gap: float, room: Room) -> None:
        """Makes an empty builder.

        Args:
            gap: gaps shorter than this many seconds are closed.
            room: how many ranges can begin.
        """
        self.ranges: list[TextRange] = []
        self._gap = gap
        self._room = room
        self._open: dict[str, TextRange] = {}
        self._pruned = 0.0
        self._effort = MAX_EFFORT

    def add(self, blocks: list[TextBlock], time: float, frame: int) -> list[TextRange]:
        """Adds the blocks of a frame.

        Args:
            blocks: the blocks.
            time: the time of the frame.
            frame: the number of the frame among those that were processed.

        Returns:
            The ranges of the blocks.
        """
        if not time - self._pruned < self._gap:
            self._prune(time)
        seen: list[TextRange] = []
        unknown: list[tuple[str, TextBlock]] = []
        for block in blocks:
            if not (key := folded(block["text"])):
                continue
            if (found := self._open.get(key)) is not None and self._is_open(found, time):
                self._see(found, key, block, frame)
                seen.append(found)
            else:
                unknown.append((key, block))
        for key, block in unknown:
            found = self._open.get(key)  # a block of the same frame may have begun it
            if found is None or not self._is_open(found, time):
                found = self._similar(key, block["box"], time, frame) if self._open else None
            if found is not None:
                self._see(found, key, block, frame)
                seen.append(found)
            elif self._room.take(max(len(block["text"]), len(key))):
                found = TextRange(block, key, time, frame)
                self.ranges.append(found)
                self._open[key] = found
                seen.append(found)
        return seen

    def see_again(self, ranges: list[TextRange], frame: int) -> None:
        """Notes that a frame has the same blocks as the one before."""
        for found in ranges:
            found.frame = frame

    def _is_open(self, found: TextRange, time: float) -> bool:
        return round(time - found.end, _DIGITS) < self._gap

    def _see(self, found: TextRange, key: str, block: TextBlock, frame: int) -> None:
        found.frame = frame
        found.last_box = block["box"]
        longer = len(block["text"]) - len(found.text)
        if block["confidence"] > found.confidence and self._room.grow(longer):
            found.confidence, found.text, found.box = block["confidence"], block["text"], block["box"]
            if key != found.key:
                del self._open[found.key]
                found.key = key
                self._open[key] = found

    def _similar(self, key: str, box: Box, time: float, frame: int) -> TextRange | None:
        """Returns the open range with a similar spelling whose box overlaps the most.

        A range that the frame has already been matched with is another text in the same picture.
        """
        effort = len(key) * len(self._open)
        if len(key) > MAX_COMPARED or effort > self._effort:
            return None
        self._effort -= effort
        # Only videos with several texts need it.
        from rapidfuzz import process
        from rapidfuzz.distance import Indel

        similar = process.extract(
            key, list(self._open), scorer=Indel.normalized_similarity, score_cutoff=SIMILARITY, limit=None
        )
        self._effort -= len(similar) * _EFFORT_OF_MATCH
        best, most = None, 0.0
        for name, _, _ in similar:
            found = self._open[name]
            if found.frame != frame and len(name) <= MAX_COMPARED and self._is_open(found, time):
                area = _overlap(found.last_box, box)
                if area > most:
                    best, most = found, area
        return best

    def _prune(self, time: float) -> None:
        self._pruned = time
        self._open = {key: found for key, found in self._open.items() if self._is_open(found, time)}


def _overlap(one: Box, other: Box) -> float:
    """Returns the area that two boxes share, in square pixels."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0
