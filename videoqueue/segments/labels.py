"""The ranges of the labels of objects in a video."""

from __future__ import annotations

from typing import Final

from videoqueue.pipeline.results import Detection
from videoqueue.segments.ranges import LabelSegment, Room

_DIGITS: Final = 6  # as for texts


class LabelRange:
    """One range; `end` is that of its last frame but one until the next frame arrives."""

    __slots__ = ("confidence", "end", "label", "peak_count", "start")

    def __init__(self, label: str, time: float) -> None:
        self.label = label
        self.start = self.end = time
        self.confidence = 0.0
        self.peak_count = 0

    def segment(self) -> LabelSegment:
        """Returns the range as it is served."""
        return {
            "label": self.label,
            "start": self.start,
            "end": self.end,
            "confidence": self.confidence,
            "peak_count": self.peak_count,
        }


class LabelRanges:
    """Builds the ranges from the detections of each frame, in order.

    Each label has at most one open range.
    """

    def __init__(self, gap: float, room: Room) -> None:
        """Makes an empty builder; see `TextRanges`."""
        self.ranges: list[LabelRange] = []
        self._gap = gap
        self._room = room
        self._open: dict[str, LabelRange] = {}

    def add(self, detections: list[Detection], time: float) -> list[LabelRange]:
        """Adds the detections of a frame. Returns the ranges of their labels."""
        counts: dict[str, int] = {}
        seen: list[LabelRange] = []
        for detection in detections:
            label = detection["label"]
            found = self._open.get(label)
            if label not in counts:
                counts[label] = 0
                if found is None or not round(time - found.end, _DIGITS) < self._gap:
                    found = self._begin(label, time)
                if found is not None:
                    seen.append(found)
            if found is None:
                continue
            counts[label] += 1
            if detection["confidence"] > found.confidence:
                found.confidence = detection["confidence"]
            if counts[label] > found.peak_count:
                found.peak_count = counts[label]
        return seen

    def _begin(self, label: str, time: float) -> LabelRange | None:
        if not self._room.take(len(label)):
            self._open.pop(label, None)
            return None
        found = self._open[label] = LabelRange(label, time)
        self.ranges.append(found)
        return found
