"""Sorts text blocks into reading order.

Lines are read from top to bottom, each from left to right; columns are read one after the other. Text that
is turned is sorted as if the frame were turned upright: columns of Chinese or Japanese, for example, are read
from the right to the left. The direction in which most characters are written decides. Blocks in another
direction, such as the label of an axis, are sorted among themselves and keep their place as a group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from videoqueue.pipeline.plugins.ocr.columns import by_columns, overlap
from videoqueue.pipeline.results import Box, TextBlock

# Blocks of one direction belong together if their distance is at most this multiple of a line's height.
_NEAR = 1.0
#: By how many degrees text is turned clockwise, and where the corner of a box is in the upright frame.
_UPRIGHT: dict[int, Callable[[int, int], tuple[int, int]]] = {
    0: lambda x, y: (x, y),
    90: lambda x, y: (y, -x),
    180: lambda x, y: (-x, -y),
    270: lambda x, y: (-y, x),
}


@dataclass(frozen=True)
class _Group:
    """Blocks that keep together, in their order, and the box around all of them."""

    blocks: Sequence[TextBlock]
    box: Box


def in_reading_order(blocks: Iterable[TextBlock], turned: Sequence[int] = ()) -> list[TextBlock]:
    """Returns the blocks in reading order. Ties are broken by every coordinate of the box.

    Args:
        blocks: The blocks.
        turned: By how many degrees the text of each is turned clockwise: 0, 90, 180 or 270. Default: 0.
    """
    by_direction: dict[int, list[TextBlock]] = {}
    given = list(blocks)
    for block, degrees in zip(given, turned or [0] * len(given), strict=True):
        by_direction.setdefault(degrees, []).append(block)
    if not by_direction:
        return []
    main = max(by_direction, key=lambda degrees: (_characters(by_direction[degrees]), -degrees))
    groups = [_Group([block], block["box"]) for block in by_direction[main]]
    for degrees, others in sorted(by_direction.items()):
        if degrees != main:
            groups += [_group(near, degrees) for near in _near_each_other(others, degrees)]
    return [block for group in _sorted(groups, main) for block in group.blocks]


def _sorted(groups: Sequence[_Group], degrees: int) -> list[_Group]:
    boxes = [_upright(group.box, degrees) for group in groups]
    texts = [" ".join(block["text"] for block in group.blocks) for group in groups]
    return [groups[number] for number in by_columns(boxes, texts)]


def _group(blocks: Sequence[TextBlock], degrees: int) -> _Group:
    sides = list(zip(*(block["box"] for block in blocks), strict=True))
    alone = [_Group([block], block["box"]) for block in blocks]
    ordered = [block for group in _sorted(alone, degrees) for block in group.blocks]
    return _Group(ordered, [min(sides[0]), min(sides[1]), max(sides[2]), max(sides[3])])


def _near_each_other(blocks: Sequence[TextBlock], degrees: int) -> list[list[TextBlock]]:
    """Returns the blocks in sets; each block is near to another one of its set."""
    sets: list[list[TextBlock]] = []
    for block in blocks:
        joined = [block]
        apart = []
        for other in sets:
            if any(_is_near(block["box"], member["box"], degrees) for member in other):
                joined += other
            else:
                apart.append(other)
        sets = [*apart, joined]
    return sets


def _is_near(first: Box, second: Box, degrees: int) -> bool:
    one, other = _upright(first, degrees), _upright(second, degrees)
    distance = _NEAR * min(one[3] - one[1], other[3] - other[1])
    return overlap(one[0], one[2], other[0], other[2]) >= -distance and (
        overlap(one[1], one[3], other[1], other[3]) >= -distance
    )


def _characters(blocks: Iterable[TextBlock]) -> int:
    return sum(len(block["text"]) for block in blocks)


def _upright(box: Box, degrees: int) -> Box:
    """Returns the box as it is in the frame turned so that the text is upright."""
    corners = [_UPRIGHT[degrees](*corner) for corner in (box[:2], box[2:])]
    (x1, x2), (y1, y2) = (sorted(side) for side in zip(*corners, strict=True))
    return [x1, y1, x2, y2]
