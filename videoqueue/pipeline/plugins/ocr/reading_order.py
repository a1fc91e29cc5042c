"""Puts blocks of text in the order in which they are read: lines from the top, each from the left."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Block = dict[str, Any]
# Blocks whose heights overlap by this part of the lower one stand on one line.
_SAME_LINE = 0.5


def in_reading_order(blocks: Iterable[Block]) -> list[Block]:
    """Sorts blocks by their `box` [x1, y1, x2, y2]; ties are broken by every coordinate."""
    lines: list[list[Block]] = []
    for block in sorted(blocks, key=_from_the_top):
        # Compared with the first of the line only: a slanted row of blocks must not drag the next line in.
        if lines and _overlap(lines[-1][0]["box"], block["box"]) >= _SAME_LINE:
            lines[-1].append(block)
        else:
            lines.append([block])
    return [block for line in lines for block in sorted(line, key=_from_the_left)]


def _from_the_top(block: Block) -> tuple[float, list[int]]:
    x1, y1, x2, y2 = block["box"]
    return (y1 + y2) / 2, [x1, y1, x2, y2]


def _from_the_left(block: Block) -> list[int]:
    return list(block["box"])


def _overlap(first: list[int], second: list[int]) -> float:
    shared = min(first[3], second[3]) - max(first[1], second[1])
    lower = min(first[3] - first[1], second[3] - second[1])
    return shared / lower if lower > 0 else 0.0
