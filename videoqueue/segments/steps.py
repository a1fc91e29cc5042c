"""The time between two processed frames."""

from __future__ import annotations

from collections import Counter
from typing import Final

#: Digits of a second that are told apart; fewer when there are too many different steps to keep.
_DIGITS, _COARSE_DIGITS = 6, 3
_MAX_DIFFERENT: Final = 100_000


class Steps:
    """Counts the steps of a video. Memory is bounded: there are few different ones, or they are rounded."""

    def __init__(self) -> None:
        self._counts: Counter[float] = Counter()
        self._digits = _DIGITS

    def add(self, step: float) -> None:
        """Counts one step in seconds; one that is not positive does not count."""
        if step > 0:
            self._counts[round(step, self._digits)] += 1
            if len(self._counts) > _MAX_DIFFERENT and self._digits > _COARSE_DIGITS:
                self._coarsen()

    def median(self) -> float | None:
        """Returns the median step in seconds; None if there is none."""
        total = self._counts.total()
        if not total:
            return None
        middle = ((total - 1) // 2, total // 2)
        found: list[float] = []
        passed = 0
        for step, count in sorted(self._counts.items()):
            passed += count
            while len(found) < 2 and passed > middle[len(found)]:
                found.append(step)
        return sum(found) / 2

    def _coarsen(self) -> None:
        self._digits = _COARSE_DIGITS
        counts, self._counts = self._counts, Counter()
        for step, count in counts.items():
            self._counts[round(step, self._digits)] += count
