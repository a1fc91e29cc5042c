"""The results by pages, each found without reading what is before it."""

from __future__ import annotations

import uuid
from collections.abc import Generator
from dataclasses import dataclass
from itertools import islice

from videoqueue.jobs.chunk_decoding import gathered, served_items
from videoqueue.jobs.results import ResultReader
from videoqueue.jobs.types import OwnerScope


@dataclass(frozen=True)
class Position:
    """The start of a page: the number of a chunk, and the number of that chunk's items to skip."""

    seq: int = 0
    offset: int = 0


def array_of_page(
    reader: ResultReader, job_id: uuid.UUID, owner: OwnerScope, etag: str, start: Position, size: int
) -> Generator[bytes, None, Position | None]:
    """Yields the bytes of an array of at most `size` items from `start` on, as they are served.

    Reads only the chunks of the page. On the last page it also compares the whole array with `etag`,
    because chunks may be missing at the end.

    Returns:
        The start of the next page, or None after the last one.

    Raises:
        VideoqueueError: as in `ResultReader.array`.
    """
    seq, offset, left = start.seq, start.offset, size
    separator = b"["
    while (chunk := reader.chunk(job_id, owner, seq)) is not None:
        if left == 0:
            yield b"]"
            return Position(seq, offset)
        items = served_items(*chunk)
        skipped = sum(1 for _ in islice(items, offset))
        taken = 0
        for count, piece in gathered(islice(items, left)):
            yield separator + piece
            separator = b","
            taken += count
        left -= taken
        offset = skipped + taken
        # The checksum of a chunk is at its end.
        if sum(1 for _ in items) == 0:
            seq, offset = seq + 1, 0
    reader.require_whole(job_id, owner, reader.etag(job_id, owner), etag)
    yield b"]" if separator == b"," else b"[]"
    return None
