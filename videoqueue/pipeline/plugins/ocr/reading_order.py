"""Sorts text blocks into reading order: lines from top to bottom, each from left to right."""

from __future__ import annotations

from collections.abc import Iterable

from videoqueue.pipeline.results import Box, TextBlock

# Blocks are on one line if their vertical overlap is at least this share of the lower block's height.
_SAME_LINE = 0.5


def in_reading_order(blocks: Iterable[TextBlock]) -> list[TextBlock]:
    """Returns the blocks in reading order. Ties are broken by every coordinate of the box."""
    lines: list[list[TextBlock]] = []
    for block in sorted(blocks, key=_from_the_top):
        # Compare with the first block of the line only, so that a slanted line does not absorb the next one.
        if lines and _overlap(lines[-1][0]["box"], block["box"]) >= _SAME_LINE:
            lines[-1].append(block)
        else:
            lines.append([block])
    return [block for line in lines for block in sorted(line, key=_from_the_left)]


def _from_the_top(block: TextBlock) -> tuple[float, list[int]]:
    x1, y1, x2, y2 = block["box"]
    return (y1 + y2) / 2, [x1, y1, x2, y2]


def _from_the_left(block: TextBlock) -> Box:
    return block["box"]


def _overlap(first: Box, second: Box) -> float:
    shared = min(first[3], second[3]) - max(first[1], second[1])
    lower = min(first[3] - first[1], second[3] - second[1])
    return shared / lower if lower > 0 else 0.0
