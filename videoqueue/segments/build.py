"""Sums up the results of a job's frames as ranges of time, in one pass and in bounded memory.

Rules:
- A range ends at the time of the next processed frame. After the last frame it ends one median step later, at
  most at the end of the video.
- Gaps below the larger of 0.5 s and two median steps are closed.
- Two texts are the same if they are equal after folding case, accents and spaces, or if they are similar and
  their boxes overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Final, TypeAlias

from videoqueue.pipeline.decode.video_info import VideoInfo
from videoqueue.pipeline.results import FrameItem
from videoqueue.segments.blocks import detections_of, text_blocks_of, timestamp_of
from videoqueue.segments.labels import LabelRange, LabelRanges
from videoqueue.segments.ranges import MAX_RANGES, Room, Segments
from videoqueue.segments.steps import Steps
from videoqueue.segments.texts import TextRange, TextRanges

#: The items of a job in order; to be called for each pass.
Items: TypeAlias = Callable[[], Iterator[FrameItem]]

#: The version of the rules. Segments that were kept under another version are made anew.
VERSION: Final = 1
#: Gaps below this are always closed; seconds.
_MIN_GAP: Final = 0.5
_DIGITS: Final = 6


def segments_of(items: Items, video: VideoInfo, max_ranges: int = MAX_RANGES) -> Segments:
    """Returns the ranges of all labels and texts.

    Args:
        items: the results; read once, or twice if the frames are more than 0.25 s apart.
        video: the duration bounds the last range, and the frame rate is the step if there is one frame only.
        max_ranges: the maximum number of ranges; the ones that begin first are kept.
    """
    first = _Pass(_MIN_GAP, max_ranges)
    first.read(items())
    step = first.steps.median()
    if step is None:
        step = 1 / video.fps if video.fps else 0.0
    gap = max(_MIN_GAP, round(2 * step, _DIGITS))
    if gap == _MIN_GAP:
        return first.finish(step, video.duration)
    second = _Pass(gap, max_ranges)
    second.read(items())
    return second.finish(step, video.duration)


class _Pass:
    def __init__(self, gap: float, max_ranges: int) -> None:
        self.steps = Steps()
        self._room = Room(max_ranges)
        self._labels = LabelRanges(gap, self._room)
        self._texts = TextRanges(gap, self._room)
        #: The last frame: its time, and the ranges that are seen in it.
        self._time: float | None = None
        self._seen_labels: list[LabelRange] = []
        self._seen_texts: list[TextRange] = []

    def read(self, items: Iterator[FrameItem]) -> None:
        """Adds all frames."""
        last_blocks: object = None
        for number, item in enumerate(items):
            result = item["result"]
            if (time := timestamp_of(result)) is None:
                continue
            self._end_seen(time)
            blocks = result.get("text_blocks")
            if blocks and blocks == last_blocks:
                self._texts.see_again(self._seen_texts, number)
            else:
                self._seen_texts = self._texts.add(text_blocks_of(result), time, number) if blocks else []
                last_blocks = blocks
            detections = detections_of(result)
            self._seen_labels = self._labels.add(detections, time) if detections else []

    def _end_seen(self, time: float) -> None:
        if self._time is not None and time > self._time:
            self.steps.add(time - self._time)
            for label in self._seen_labels:
                label.end = time
            for text in self._seen_texts:
                text.end = time
        self._time = time

    def finish(self, step: float, duration: float | None) -> Segments:
        """Returns the ranges; the last frame ends one step later."""
        if self._time is not None:
            end = round(self._time + step, _DIGITS)
            if duration is not None:
                end = max(self._time, min(end, duration))
            self._end_seen(end)
        labels = [found.segment() for found in self._labels.ranges]
        texts = [found.segment() for found in self._texts.ranges]
        return {
            "labels": sorted(labels, key=itemgetter("start", "label")),
            "texts": sorted(texts, key=itemgetter("start", "text")),
            "truncated": self._room.is_full,
        }
