"""How far two readings of a frame agree: texts by characters, boxes by overlap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Box = Sequence[float]


@dataclass
class Counts:
    """Characters of the expected lines and how many are wrong; a line is lost when more than half is."""

    characters: int = 0
    wrong: int = 0
    lines: int = 0
    exact: int = 0
    lost: int = 0

    def add(self, other: Counts) -> None:
        self.characters += other.characters
        self.wrong += other.wrong
        self.lines += other.lines
        self.exact += other.exact
        self.lost += other.lost

    def __str__(self) -> str:
        error = 100 * self.wrong / max(self.characters, 1)
        return (
            f"{self.lines} lines, {self.lost} lost, {self.exact} exact; "
            f"{self.wrong} of {self.characters} characters wrong ({error:.2f} %)"
        )


def compare_texts(expected: Iterable[str], found: Iterable[str]) -> Counts:
    """Each expected line against the found one nearest to it; blanks do not count."""
    candidates = [_without_blanks(text) for text in found]
    counts = Counts()
    for line in expected:
        text = _without_blanks(line)
        wrong = min((_distance(text, other) for other in candidates), default=len(text))
        wrong = min(wrong, len(text))
        counts.add(Counts(len(text), wrong, 1, int(wrong == 0), int(2 * wrong > len(text))))
    return counts


def best_overlaps(expected: Iterable[Box], found: Sequence[Box]) -> list[float]:
    """For each expected box [x1, y1, x2, y2] the largest intersection over union with a found one."""
    return [max((overlap(box, other) for other in found), default=0.0) for box in expected]


def overlap(first: Box, second: Box) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(width, 0) * max(height, 0)
    both = _area(first) + _area(second) - shared
    return shared / both if both else 0.0


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _without_blanks(text: str) -> str:
    return "".join(text.split())


def _distance(first: str, second: str) -> int:
    """Characters to change, add or drop to make one text the other."""
    if first == second:
        return 0
    row = list(range(len(second) + 1))
    for number, letter in enumerate(first, 1):
        last, row[0] = row[0], number
        for place, other in enumerate(second, 1):
            last, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, last + (letter != other))
    return row[-1]
