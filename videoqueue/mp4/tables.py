"""Sums the columns of tables block by block: a table may be most of a file."""

from __future__ import annotations

from operator import mul, sub
from struct import unpack
from typing import Final

BLOCK: Final = 4096  # bytes of a table that are summed at a time

# What a full block costs in steps.
SUM_COST: Final = 60
RUNS_COST: Final = 400
OFFSETS_COST: Final = 240
EDITS_COST: Final = 400

_WORD: Final = 0xFFFF_FFFF
# One word in every so many: what is left of a block, read as one long number, when a column is cut out of it.
_COLUMNS: Final = {
    fields: sum(_WORD << 32 * at for at in range(0, BLOCK // 4 + fields, fields)) for fields in (2, 3, 4)
}
_LESS_ONE: Final = {fields: (1 << 32 * fields) - 1 for fields in _COLUMNS}
_FOLDS: Final = {
    fields: [
        (bits := ((BLOCK >> at) // (4 * fields) + 1) * 32 * fields, (1 << bits) - 1) for at in (1, 2, 3, 4)
    ]
    for fields in _COLUMNS
}
_SHORT: Final = 64  # bytes below which a loop is faster


def column_sum(block: bytes | memoryview, fields: int, column: int) -> int:
    """Returns the sum of one column of a table, at most BLOCK bytes; an entry is `fields` 32-bit numbers.

    The block is read as one long number in base 2**(32 * fields) with the other columns masked out. Folding
    it adds digits to digits; modulo the base less one, a number is the sum of its digits, which is here too
    small to wrap around. It takes a tenth of the time of a loop over the entries.
    """
    if len(block) <= _SHORT:
        return sum(numbers(block)[column::fields])
    number = int.from_bytes(block, "big")
    if fields == 1:
        fields = 2
        number = (number & _COLUMNS[2]) + (number >> 32 & _COLUMNS[2])
    else:
        number = number >> 32 * (fields - 1 - column) & _COLUMNS[fields]
    for bits, mask in _FOLDS[fields]:
        number = (number >> bits) + (number & mask)
    return number % _LESS_ONE[fields]


def long_column_sum(table: memoryview, fields: int, column: int) -> int:
    """Returns the same sum as `column_sum`, for a table of any length."""
    if len(table) <= BLOCK:
        return column_sum(table, fields, column)
    step = BLOCK // (4 * fields) * 4 * fields
    return sum(column_sum(table[at : at + step], fields, column) for at in range(0, len(table), step))


def numbers(block: bytes | memoryview, width: int = 4) -> tuple[int, ...]:
    """Returns the unsigned big-endian numbers in a block, each of `width` bytes: 4 or 8."""
    return unpack(f">{len(block) // width}{'I' if width == 4 else 'Q'}", block)


class Runs:
    """`stsc`: how many samples the chunks hold; each entry goes on until the first chunk of the next."""

    def __init__(self) -> None:
        self._counted = 0
        self._first = 1  # chunk with which the last run begins
        self._per_chunk = 0

    def add(self, block: bytes) -> None:
        entries = numbers(block)
        firsts = (self._first, *entries[::3])
        per_chunk = (self._per_chunk, *entries[1::3])
        chunks = map(sub, firsts[1:], firsts)
        self._counted += sum(map(mul, map(abs, chunks), per_chunk))  # chunks out of order do not cancel out
        self._first, self._per_chunk = firsts[-1], per_chunk[-1]

    def last_samples(self, chunks: int) -> int:
        """Returns the number of samples in the last of `chunks` chunks; 0 when the table does not say."""
        return self._per_chunk if self._first <= chunks else 0

    def samples(self, chunks: int) -> int:
        """Returns the number of samples in the first `chunks` chunks together."""
        return self._counted + max(0, chunks + 1 - self._first) * self._per_chunk
