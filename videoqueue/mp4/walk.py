"""How the bytes of a file are pulled out of pieces of any size.

The walk is a generator that asks for bytes: it yields n for "the next n bytes" and -n for "skip n bytes".
At the end of the file EOFError is thrown into it, and only those who may end there catch it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from struct import Struct, unpack
from typing import TypeAlias, TypeVar

from videoqueue.mp4.refusals import MAX_BOXES, refuse, refuse_as_damaged

OPEN = 1 << 63  # the end of a box that goes on to the end of the file
_BLOCK = 4096  # bytes of a table held at a time
_HEADER = Struct(">I4s")

T = TypeVar("T")
Steps: TypeAlias = Generator[int, bytes, T]


class Walk:
    """One pass over a file: those who read boxes ask it for headers, bytes and tables."""

    def __init__(self) -> None:
        self.position = 0  # bytes that the walk is through with
        self._held = bytearray()  # the beginning of what was asked for, while the rest is not here yet
        self._boxes = 0

    def start(self, steps: Steps[None]) -> None:
        self._steps = steps
        self._wanted = next(steps)

    def feed(self, view: memoryview) -> None:
        while view:
            view = view[self._consume(view) :]

    def _consume(self, view: memoryview) -> int:
        if self._wanted < 0:
            count = min(len(view), -self._wanted)
            self._wanted += count
        else:
            count = min(len(view), self._wanted - len(self._held))
            self._held += view[:count]
        self.position += count
        if self._wanted == len(self._held):
            piece = bytes(self._held)
            self._held.clear()
            self._wanted = self._steps.send(piece)
        return count

    def end(self) -> None:
        """Says that the file ends here."""
        try:
            while True:  # each throw ends one open box
                self._steps.throw(EOFError())
        except StopIteration:
            return
        except EOFError:
            refuse("truncated_mp4", "The file is cut off in the middle. Upload the whole file.")

    def may_end(self, end: int) -> bool:
        """Whether the file may end here, inside a box that goes on until `end` and between its children."""
        return end == OPEN and not self._held

    # What the generator asks for

    def header(self, end: int, head: bytes = b"") -> Steps[tuple[bytes, int]]:
        """Type and end of the next box, whose first 8 bytes may have been read already."""
        self._boxes += 1
        if self._boxes > MAX_BOXES:
            refuse("unsupported_video", f"The file has more than {MAX_BOXES:,} boxes. Write it anew as MP4.")
        head = head or (yield 8)
        start = self.position - 8
        size, kind = _HEADER.unpack(head)
        if size == 0:
            return kind, end
        if size == 1:
            (size,) = unpack(">Q", (yield 8))
        if not self.position - start <= size <= end - start:
            refuse_as_damaged("a box is larger than what contains it, or smaller than its own header")
        return kind, start + size

    def skip_to(self, end: int) -> Steps[None]:
        try:
            while self.position < end:
                yield self.position - end
        except EOFError:
            if end != OPEN:
                raise

    def take(self, end: int, count: int) -> Steps[bytes]:
        if count > end - self.position:
            refuse_as_damaged("a box is too short for what it holds")
        # A request for nothing would be pending still when the file ends here.
        return (yield count) if count else b""

    def check_table(self, end: int, count: int, entry_size: int) -> None:
        if count * entry_size > end - self.position:
            refuse_as_damaged("a table is longer than its box")

    def table(self, end: int, count: int, entry_size: int, use: Callable[[bytes], None]) -> Steps[None]:
        self.check_table(end, count, entry_size)
        while count:
            entries = min(count, _BLOCK // entry_size)
            use((yield entries * entry_size))
            count -= entries

    def counted_table(self, end: int, entry_size: int, use: Callable[[bytes], None]) -> Steps[None]:
        """A table behind version, flags and the number of its entries."""
        _, count = unpack(">II", (yield from self.take(end, 8)))
        yield from self.table(end, count, entry_size, use)


def numbers(block: bytes, width: int = 4) -> tuple[int, ...]:
    return unpack(f">{len(block) // width}{'I' if width == 4 else 'Q'}", block)
