"""Reads boxes from a file that arrives in pieces of any size.

The walk is a generator: it reads from the current piece and yields when the piece is used up. At the end of
the file EOFError is thrown into it; code where a file may end catches it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Generator
from struct import Struct, unpack
from typing import TypeAlias, TypeVar

from videoqueue.mp4.limits import CheckLimits
from videoqueue.mp4.refusals import refuse_as_damaged, refuse_as_too_short, refuse_effort
from videoqueue.mp4.tables import BLOCK

OPEN = 1 << 63  # the end of a box that goes on to the end of the file
HEADER = Struct(">I4s")
OPENING = 50  # steps that it takes to read what is in a box

_LONG_SIZE = Struct(">Q")
_LONG_HEADER = 26  # steps more; files have few of them
_NOTHING = memoryview(b"")

T = TypeVar("T")
Steps: TypeAlias = Generator[None, None, T]
Shortcut: TypeAlias = Callable[[memoryview, int, int, int], int]


class Walk:
    """One pass over a file. It returns headers, bytes and tables to the code that reads boxes."""

    def __init__(self, limits: CheckLimits) -> None:
        self.limits = limits
        self._steps = 0
        self._piece = _NOTHING
        self._at = 0  # bytes of the piece that are used up: all of them whenever the generator yields
        self._before = 0  # bytes of the file in front of the piece
        self.unread = 0  # bytes behind the piece that are not read
        self.box_start = 0  # position of the box that was returned last

    @property
    def position(self) -> int:
        """Returns the number of bytes of the file that were read or skipped."""
        return self._before + self._at

    def start(self, steps: Steps[None]) -> None:
        self._generator = steps
        next(steps)

    def feed(self, view: memoryview) -> None:
        if not view:
            return
        self._piece, self.unread = view, 0
        try:
            self._generator.send(None)
        finally:
            self._before += self._at
            self._piece, self._at = _NOTHING, 0

    def leave_out(self, count: int) -> None:
        """Skips so many of the unread bytes; they will not be fed."""
        self._before += count
        self.unread -= count

    def end(self) -> bool:
        """Ends the file. Returns whether it may end here."""
        try:
            while True:  # each throw ends one open box
                self._generator.throw(EOFError())
        except StopIteration:
            return True
        except EOFError:
            return False

    def spend(self, steps: int) -> None:
        """Counts work before it is done; refuses the file when it takes too many steps.

        Only the content of the file may decide what is spent and in which order, not how it is cut.
        """
        if self._steps >= self.limits.steps:
            refuse_effort(self.limits)
        self._steps += steps

    def charge(self, steps: int) -> None:
        """Counts work that is done already; the next `spend` may refuse the file."""
        self._steps += steps

    # What is asked of the piece at hand, without a step of the generator

    def find(
        self, end: int, opened: Container[bytes], shortcut: Shortcut | None = None
    ) -> tuple[bytes, int] | None:
        """Skips boxes of the current piece that nobody opens. Returns type and end of the first other one.

        Returns None when there is none, and for an unusual box, which is left to `header`. The shortcut may
        read a complete `moof`. Its arguments are the piece, where in it the content begins and ends, and
        where the box begins in the file. It returns the steps that it took, 0 if the box must be opened.
        """
        piece, at, steps, before = self._piece, self._at, self._steps, self._before
        stop = min(len(piece), end - before)
        last, most = stop - 8, self.limits.steps
        found = None
        unpack_header = HEADER.unpack_from
        while at <= last and steps < most:
            size, kind = unpack_header(piece, at)
            after = at + size
            cost = 1
            if kind in opened:
                if shortcut and kind == b"moof" and size >= 8 and after <= stop:
                    cost += shortcut(piece, at + 8, after, before + at)
                if cost == 1:
                    if 8 <= size <= end - before - at:
                        self.box_start = before + at
                        at, steps, found = at + 8, steps + 1, (kind, before + after)
                    break
            elif size == 1:
                size = _long_size(piece, at, stop)
                after = at + size
                cost += _LONG_HEADER
            if size < 8 or after > stop:
                break
            at = after
            steps += cost
        self._at, self._steps = at, steps
        return found

    # What the generator asks for

    def take(self, count: int) -> Steps[bytes]:
        """Returns the next `count` bytes."""
        at = self._at
        piece = bytes(self._piece[at : at + count])
        self._at = at + len(piece)
        if len(piece) == count:
            return piece
        held = bytearray(piece)
        while len(held) < count:
            yield
            part = self._piece[: count - len(held)]
            self._at = len(part)
            held += part
        return bytes(held)

    def read(self, end: int, count: int) -> Steps[bytes]:
        """Returns the next `count` bytes, which must lie in front of `end`."""
        if count > end - self.position:
            refuse_as_too_short()
        return (yield from self.take(count))

    def header(
        self, end: int, head: bytes = b"", strict: Container[bytes] | None = None
    ) -> Steps[tuple[bytes, int]]:
        """Returns the type and the end of the next box, whose first 8 bytes may have been taken already.

        A box that is larger than what contains it is damage. When `strict` is given, that is so only for the
        types in it; any other box ends with what contains it, as players read it.
        """
        head = head or (yield from self.take(8))
        self.spend(1)
        self.box_start = start = self.position - 8
        size, kind = HEADER.unpack(head)
        if size == 0:
            return kind, end
        if size == 1:
            self.charge(_LONG_HEADER)
            (size,) = unpack(">Q", (yield from self.take(8)))
        if strict is not None and kind not in strict:
            size = min(size, end - start)
        if not self.position - start <= size <= end - start:
            refuse_as_damaged("a box is larger than what contains it, or smaller than its own header")
        return kind, start + size

    def child(self, end: int, opened: Container[bytes]) -> Steps[tuple[bytes, int] | None]:
        """Returns type and end of a box's next child, which may be one that nobody opens; None at its end."""
        found = self.find(end, opened)
        if found or end - self.position < 8:
            return found
        start = self.position
        try:
            return (yield from self.header(end, strict=opened))
        except EOFError:
            if end == OPEN and self.position == start:
                return None
            raise

    def skip_to(self, end: int) -> Steps[None]:
        """Skips to a position in the file. Yields when it needs more of the file."""
        try:
            while (left := end - self.position) > len(self._piece) - self._at:
                self.unread = left - (len(self._piece) - self._at)
                self._at = len(self._piece)
                yield
            self._at += max(0, left)
        except EOFError:
            if end != OPEN:
                raise

    # Tables

    def check_table(self, end: int, count: int, entry_size: int) -> None:
        if count * entry_size > end - self.position:
            refuse_as_damaged("a table is longer than its box")

    def table(
        self, end: int, count: int, entry_size: int, cost: int, use: Callable[[bytes], None]
    ) -> Steps[None]:
        """Passes a table to `use` in blocks of up to `cost` steps. Yields when it needs more of the file."""
        self.check_table(end, count, entry_size)
        most = BLOCK // entry_size
        while count:
            entries = min(count, most)
            self.spend(cost * entries // most)
            use((yield from self.take(entries * entry_size)))
            count -= entries


def _long_size(piece: memoryview, at: int, stop: int) -> int:
    """Size of a box that has it in 64 bits, 0 if it is not at hand or no size of a box."""
    if stop - at < 16:
        return 0
    size: int = _LONG_SIZE.unpack_from(piece, at + 8)[0]
    return size if size >= 16 else 0
