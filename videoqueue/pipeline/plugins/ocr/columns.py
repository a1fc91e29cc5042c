"""Sorts boxes of upright text: rows from top to bottom, and columns of text one after the other."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from videoqueue.pipeline.results import Box

# Blocks are on one row if their vertical overlap is at least this share of the lower block's height.
_SAME_ROW = 0.5
# The rows of columns are at most this multiple of a line's height apart. Between columns is a gap of at least
# this multiple of a line's height, and in each of them are at least so many lines: two rows with a gap are
# more often a name and a time, with a title and a place below.
_NEXT_ROW, _GAP, _MIN_LINES = 1.5, 0.5, 3
# If so large a share of a column are numbers, or labels that end with a colon, it is part of a table, which
# is read row by row.
_TABLE = 0.5
_Row = list[int]


def by_columns(boxes: Sequence[Box], texts: Sequence[str]) -> list[int]:
    """Returns the places of the boxes in reading order; `texts` says what is written in each."""
    everything = sorted(range(len(boxes)), key=lambda place: boxes[place])
    return _Sorter(boxes, texts).sort(everything)


def overlap(start: int, end: int, other_start: int, other_end: int) -> int:
    """Returns how long two intervals overlap; below 0 the distance between them."""
    return min(end, other_end) - max(start, other_start)


class _Sorter:
    def __init__(self, boxes: Sequence[Box], texts: Sequence[str]) -> None:
        self._boxes = boxes
        self._texts = texts

    def sort(self, places: Iterable[int]) -> list[int]:
        ordered: list[int] = []
        for area in self._areas(self._rows(places)):
            columns = self._columns(area)
            if columns:
                ordered += [place for column in columns for place in self.sort(column)]
            else:
                ordered += [place for row in area for place in row]
        return ordered

    def _rows(self, places: Iterable[int]) -> list[_Row]:
        """Returns the rows from the top, each from the left."""
        rows: list[_Row] = []
        for place in sorted(places, key=self._from_the_top):
            # Compare with the first block of the row only: a slanted row would absorb the next one.
            if rows and self._on_one_row(rows[-1][0], place):
                rows[-1].append(place)
            else:
                rows.append([place])
        return [sorted(row, key=lambda place: self._boxes[place]) for row in rows]

    def _areas(self, rows: Iterable[_Row]) -> list[list[_Row]]:
        """Returns the rows in areas of close rows; no row closes a gap between columns of its area."""
        areas: list[list[_Row]] = []
        for row in rows:
            if areas and self._continues(areas[-1], row):
                areas[-1].append(row)
            else:
                areas.append([row])
        return areas

    def _continues(self, area: list[_Row], row: _Row) -> bool:
        above, own = [place for other in area for place in other], row
        bottom = max(self._boxes[place][3] for place in above)
        top = min(self._boxes[place][1] for place in own)
        if top - bottom > _NEXT_ROW * self._height(own):
            return False
        columns = max(len(self._across(above)), len(self._across(own)))
        return len(self._across([*above, *own])) >= columns

    def _columns(self, area: list[_Row]) -> list[list[int]]:
        """Returns the blocks of each column from the left, or nothing if the area has no columns of text."""
        places = [place for row in area for place in row]
        columns = self._across(places)
        if len(columns) < 2 or any(len(self._rows(column)) < _MIN_LINES for column in columns):
            return []
        return [] if any(map(self._is_of_a_table, columns)) else columns

    def _across(self, places: Sequence[int]) -> list[list[int]]:
        """Returns the blocks from the left, separated where there is a gap."""
        gap = _GAP * self._height(places)
        columns: list[list[int]] = []
        right = 0.0
        for place in sorted(places, key=lambda place: self._boxes[place]):
            x1, _, x2, _ = self._boxes[place]
            if columns and x1 - right < gap:
                columns[-1].append(place)
                right = max(right, x2)
            else:
                columns.append([place])
                right = x2
        return columns

    def _height(self, places: Iterable[int]) -> float:
        return statistics.median_low([self._boxes[place][3] - self._boxes[place][1] for place in places])

    def _is_of_a_table(self, column: Sequence[int]) -> bool:
        texts = [self._texts[place].rstrip() for place in column]
        cells = sum(text.endswith((":", "：")) or not any(map(str.isalpha, text)) for text in texts)
        return cells >= _TABLE * len(texts)

    def _on_one_row(self, first: int, second: int) -> bool:
        one, other = self._boxes[first], self._boxes[second]
        lower = min(one[3] - one[1], other[3] - other[1])
        return lower > 0 and overlap(one[1], one[3], other[1], other[3]) / lower >= _SAME_ROW

    def _from_the_top(self, place: int) -> tuple[float, Box]:
        box = self._boxes[place]
        return (box[1] + box[3]) / 2, box
