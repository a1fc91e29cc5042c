"""The boxes in the result of a frame.

A plugin of others may put anything under these names. What is not a label or text with a confidence and a box
is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from videoqueue.pipeline.results import Detection, FrameResult, TextBlock

_NUMBERS: Final = frozenset({int, float})


def detections_of(result: FrameResult) -> list[Detection]:
    """Returns the objects in the result of a frame."""
    found = result.get("detections")
    return cast(list[Detection], _valid(found, "label")) if found else []


def text_blocks_of(result: FrameResult) -> list[TextBlock]:
    """Returns the lines of text in the result of a frame."""
    found = result.get("text_blocks")
    return cast(list[TextBlock], _valid(found, "text")) if found else []


def timestamp_of(result: FrameResult) -> float | None:
    """Returns the time of a frame in seconds; None if its result has none."""
    time = cast(Mapping[str, Any], result).get("timestamp")
    return time if type(time) in _NUMBERS else None


def _valid(blocks: object, name: str) -> list[Any]:
    if not isinstance(blocks, list):
        return []
    return [block for block in blocks if _is_valid(block, name)]


def _is_valid(block: object, name: str) -> bool:
    if type(block) is not dict:
        return False
    box = block.get("box")
    return (
        type(block.get(name)) is str
        and type(block.get("confidence")) in _NUMBERS
        and type(box) is list
        and len(box) == 4
        and _NUMBERS.issuperset(map(type, box))
    )
