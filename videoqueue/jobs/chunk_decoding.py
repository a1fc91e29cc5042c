"""Reads the chunks that `videoqueue.jobs.chunk_encoding` describes, in bounded memory."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from typing import Final

from videoqueue.errors import VideoqueueError
from videoqueue.jobs.chunk_encoding import LINES, MAX_ITEM_BYTES

_decoder = json.JSONDecoder()
#: Uncompressed bytes that are read or yielded at once.
_PIECE: Final = 256 * 1024
#: Compressed bytes that are read at once.
_INPUT: Final = 64 * 1024
#: The longest line that is read. Older releases stored larger items, so it is more than an item has.
_MAX_LINE: Final = 2 * MAX_ITEM_BYTES


def json_of(payload: bytes, encoding: str | None, served_bytes: int | None = None) -> Iterator[bytes]:
    """Yields the JSON of the items of a chunk, joined by commas, in pieces. Memory is bounded.

    Args:
        payload: the payload of the chunk.
        encoding: its encoding.
        served_bytes: the bytes of the JSON, which is not read further; None if they are not known.

    Raises:
        VideoqueueError: the chunk is damaged, or of a newer release. What was yielded before is incomplete.
    """
    if encoding is None:
        yield payload
        return
    yield from _within(served_bytes, _joined(_Reader(payload, encoding)))


def items_of(payload: bytes, encoding: str, served_bytes: int | None = None) -> Iterator[bytes]:
    """Yields the JSON of each item of an encoded chunk.

    Args:
        payload: the payload of the chunk.
        encoding: its encoding.
        served_bytes: the bytes of the JSON of all items with the commas between them, as in `json_of`.

    Raises:
        VideoqueueError: as in `json_of`. Read all items, because the checksum is at the end.
    """
    # A comma more than there are: each item counts with one.
    limit = None if served_bytes is None else served_bytes + 1
    reader = _Reader(payload, encoding)
    yield from _within(limit, (item for block in reader.blocks() for item in reader.items(block)), comma=1)


def _within(limit: int | None, pieces: Iterator[bytes], comma: int = 0) -> Iterator[bytes]:
    """Yields the pieces as long as they, each with a comma, are not larger than the limit together."""
    size = 0
    for piece in pieces:
        size += len(piece) + comma
        if limit is not None and size > limit:
            raise damaged()
        yield piece


def _joined(reader: _Reader) -> Iterator[bytes]:
    separator = b""
    for block in reader.blocks():
        if reader.is_plain(block):
            yield separator + block[:-1].replace(b"\n", b",")
            separator = b","
            continue
        gathered, size = [], 0
        for item in reader.items(block):
            gathered.append(item)
            size += len(item)
            if size >= _PIECE:
                yield separator + b",".join(gathered)
                separator, gathered, size = b",", [], 0
        if gathered:
            yield separator + b",".join(gathered)
            separator = b","


def damaged() -> VideoqueueError:
    """Returns the error for results that are not those that were stored."""
    return VideoqueueError("The stored results of this job are damaged.")


class _Reader:
    """Reads the lines of one chunk in blocks, so that memory does not depend on how far it expands."""

    def __init__(self, payload: bytes, encoding: str) -> None:
        if encoding != LINES:
            raise VideoqueueError("The stored results of this job were written by a newer release.")
        self._payload = memoryview(payload)
        self._template: list[bytes] = []

    def blocks(self) -> Iterator[bytes]:
        """Yields whole lines, as many as there are in about 256 KiB, or one that is longer."""
        rest = bytearray()
        for piece in self._pieces():
            rest += piece
            end = piece.rfind(b"\n")
            if end >= 0:
                whole = len(rest) - len(piece) + end + 1
                yield bytes(memoryview(rest)[:whole])
                del rest[:whole]
            elif len(rest) > _MAX_LINE:
                raise damaged()
        if rest:
            raise damaged()

    def _pieces(self) -> Iterator[bytes]:
        inflater = zlib.decompressobj()
        try:
            for start in range(0, len(self._payload), _INPUT):
                given: bytes | memoryview = self._payload[start : start + _INPUT]
                while given:
                    yield inflater.decompress(given, _PIECE)
                    given = inflater.unconsumed_tail
            yield inflater.flush()
        except zlib.error:
            raise damaged() from None
        if not inflater.eof or inflater.unused_data:
            raise damaged()

    def is_plain(self, block: bytes) -> bool:
        """Returns whether all lines of the block are items as they are served."""
        return not self._template and b"\0" not in block

    def items(self, block: bytes) -> Iterator[bytes]:
        """Yields the items of the next block."""
        for line in block[:-1].split(b"\n"):
            if line.startswith(b"{"):
                parts = line.split(b"\0", 3)
                self._template = parts if len(parts) == 3 else []
                if len(parts) == 1:
                    yield line
                elif len(parts) != 3:
                    raise damaged()
                continue
            values = line.split(b",", 2)
            if len(values) != 2 or not self._template:
                raise damaged()
            start, middle, end = self._template
            yield b"".join((start, values[0], middle, values[1], end))


def served_items(payload: bytes, encoding: str | None, served_bytes: int | None) -> Iterator[bytes]:
    """Yields the items of a chunk, each as it is served."""
    if encoding is not None:
        yield from items_of(payload, encoding, served_bytes)
        return
    text = payload.decode()
    start = 0
    while start < len(text):
        _, end = _decoder.raw_decode(text, start)
        yield text[start:end].encode()
        start = end + 1  # the comma


def gathered(items: Iterable[bytes], separator: bytes = b",") -> Iterator[tuple[int, bytes]]:
    """Yields the items joined by the separator, as many as make a piece, and their number."""
    piece: list[bytes] = []
    size = 0
    for item in items:
        piece.append(item)
        size += len(item)
        if size >= _PIECE:
            yield len(piece), separator.join(piece)
            piece, size = [], 0
    if piece:
        yield len(piece), separator.join(piece)
