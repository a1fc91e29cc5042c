"""Compares what was read with what is written: characters found, characters that are not there, order."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from text_evaluation.pictures import Line

Block = dict[str, Any]
#: A block belongs to the line with which it has most in common, if this share of the smaller box or more is.
_LEAST_COVER = 0.3


@dataclass
class Score:
    """Counts of characters without blanks, and the processor time.

    Attributes:
        written: Characters that are written.
        read: Characters that were read.
        right: Characters that are written and were read, in their order within the line.
        pairs: Neighbouring lines that were both found.
        ordered: Those of them that directly follow each other in what was read.
        milliseconds: Processor time of each frame.
    """

    written: int = 0
    read: int = 0
    right: int = 0
    pairs: int = 0
    ordered: int = 0
    milliseconds: list[float] = field(default_factory=list)

    def add(self, other: Score) -> None:
        self.written += other.written
        self.read += other.read
        self.right += other.right
        self.pairs += other.pairs
        self.ordered += other.ordered
        self.milliseconds += other.milliseconds

    @property
    def recall(self) -> float:
        """Returns the share of the written characters that were read, in percent."""
        return 100 * self.right / max(self.written, 1)

    @property
    def precision(self) -> float:
        """Returns the share of the read characters that are written there, in percent."""
        return 100 * self.right / max(self.read, 1)


def score_frame(lines: Sequence[Line], blocks: Sequence[Block]) -> tuple[Score, dict[int, Score]]:
    """Returns the score of a frame, and that of its lines by the height of their letters.

    Precision by height counts blocks that belong to a line only.
    """
    assigned: list[list[int]] = [[] for _ in lines]
    total = Score()
    for number, block in enumerate(blocks):
        total.read += len(_letters(block["text"]))
        shared = [_in_both(block["box"], line.box) for line in lines]
        best = max(range(len(lines)), key=shared.__getitem__)
        if shared[best] > _LEAST_COVER * min(_area(block["box"]), _area(lines[best].box)):
            assigned[best].append(number)
    by_height: dict[int, Score] = {}
    for line, numbers in zip(lines, assigned, strict=True):
        parts = sorted((blocks[number] for number in numbers), key=lambda part: _along(line, part["box"]))
        text = "".join(_letters(part["text"]) for part in parts)
        written = _letters(line.text)
        score = Score(len(written), len(text), _in_common(written, text))
        by_height.setdefault(line.height, Score()).add(score)
        total.written += score.written
        total.right += score.right
    found = [numbers for numbers in assigned if numbers]
    neighbours = list(itertools.pairwise(found))
    total.pairs = len(neighbours)
    total.ordered = sum(max(first) + 1 == min(second) for first, second in neighbours)
    return total, by_height


def _letters(text: str) -> str:
    return "".join(text.split())


def _in_both(box: Sequence[float], line: Sequence[float]) -> float:
    """Returns the area that two boxes have in common."""
    across = min(box[2], line[2]) - max(box[0], line[0])
    down = min(box[3], line[3]) - max(box[1], line[1])
    return max(across, 0) * max(down, 0)


def _area(box: Sequence[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _along(line: Line, box: Sequence[float]) -> float:
    """Returns where a block is in the direction of the line's text."""
    place = box[0] + box[2] if line.turned in (0, 180) else box[1] + box[3]
    return -place if line.turned in (180, 270) else place


def _in_common(first: str, second: str) -> int:
    """Returns the length of the longest common subsequence."""
    row = [0] * (len(second) + 1)
    for letter in first:
        before = 0
        for place, other in enumerate(second, 1):
            before, row[place] = (
                row[place],
                before + 1 if letter == other else max(row[place], row[place - 1]),
            )
    return row[-1]
