"""The types of the data that the pipeline produces for each frame. All of it is plain JSON."""

from __future__ import annotations

from typing import NotRequired, TypeAlias, TypedDict

#: x1, y1, x2, y2 in whole pixels of the upright frame; 0 <= x1 <= x2 <= width and 0 <= y1 <= y2 <= height.
Box: TypeAlias = list[int]


class TextBlock(TypedDict):
    """One line of text, as the type name `text_blocks` has it; `confidence` is from 0 to 1."""

    text: str
    confidence: float
    box: Box


class Detection(TypedDict):
    """One object, as the type name `detections` has it; `confidence` is from 0 to 1."""

    label: str
    confidence: float
    box: Box


class FrameResult(TypedDict):
    """The outputs of a pipeline's output nodes for one frame.

    `timestamp` is in seconds. The other keys here are those of the built-in plugins; further plugins add keys
    of their own.
    """

    timestamp: float
    text: NotRequired[str]
    text_blocks: NotRequired[list[TextBlock]]
    detections: NotRequired[list[Detection]]


class FrameItem(TypedDict):
    """One processed frame; `frame_index` counts all frames of the video from 0."""

    frame_index: int
    result: FrameResult
