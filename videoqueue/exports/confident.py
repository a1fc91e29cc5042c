"""Leaves out what was recognized with too low a confidence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from videoqueue.pipeline.results import FrameItem
from videoqueue.segments.build import Items


def confident(items: Items, least: float) -> Items:
    """Returns the items without the objects and the text whose confidence is below `least`.

    `text` keeps the lines that remain. An item from which nothing is left out does not change.
    """

    def remaining() -> Iterator[FrameItem]:
        for item in items():
            result = cast(dict[str, Any], item["result"])
            for name in ("detections", "text_blocks"):
                if isinstance(blocks := result.get(name), list):
                    kept = [block for block in blocks if not _is_below(block, least)]
                    if len(kept) < len(blocks):
                        _leave_out(result, name, blocks, kept)
            yield item

    return remaining


def _is_below(block: Any, least: float) -> bool:
    confidence = block.get("confidence") if isinstance(block, dict) else None
    return isinstance(confidence, int | float) and confidence < least


def _leave_out(result: dict[str, Any], name: str, blocks: list[Any], kept: list[Any]) -> None:
    if name == "text_blocks" and result.get("text") == _text(blocks):
        result["text"] = _text(kept)
    result[name] = kept


def _text(blocks: list[Any]) -> str:
    return "\n".join(str(block.get("text")) if isinstance(block, dict) else "" for block in blocks)
