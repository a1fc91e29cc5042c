"""The results of a span of time, found without reading what is before it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Generator
from dataclasses import dataclass

from videoqueue.jobs.results import ResultReader
from videoqueue.jobs.types import OwnerScope
from videoqueue.segments.blocks import timestamp_of


@dataclass(frozen=True)
class Span:
    """From `start` up to `end`, which is not in it, in seconds; None for no bound. At most `limit` items.

    Bounds are not negative. A time before 0, which a video may begin with, counts as 0.
    """

    start: float | None
    end: float | None
    limit: int

    def is_before(self, time: float) -> bool:
        """Returns whether the time is before the span."""
        return self.start is not None and time < self.start

    def is_after(self, time: float) -> bool:
        """Returns whether the time is after the span."""
        return self.end is not None and time >= self.end


def items_by_time(
    reader: ResultReader, job_id: uuid.UUID, owner: OwnerScope, etag: str, span: Span
) -> Generator[bytes, None, float | None]:
    """Yields the items of a span as they are served, joined by commas, for each chunk at once.

    The times of the items ascend. Items with the same time are not separated, so that the next request can
    begin at a time: these can be more than `limit`.

    Returns:
        The time of the next item in the span, or None if there is none.

    Raises:
        JobGoneError: the job was deleted in the meantime.
        VideoqueueError: the stored results are damaged. The whole results are checked only if the span
            reaches their end.
    """
    first = 0 if not span.start else reader.chunk_before(job_id, owner, span.start)
    count, last = 0, None
    for chunk in reader.chunks_from(job_id, owner, first):
        chosen: list[bytes] = []
        for text in chunk:
            time = timestamp_of(json.loads(text)["result"])
            if time is None:
                continue
            time = max(time, 0.0)
            if span.is_before(time):
                continue
            is_full = count >= span.limit and time != last
            if is_full or span.is_after(time):
                if chosen:
                    yield b",".join(chosen)
                return None if span.is_after(time) else time
            chosen.append(text)
            count, last = count + 1, time
        if chosen:
            yield b",".join(chosen)
    reader.require_whole(job_id, owner, reader.etag(job_id, owner), etag)
    return None
