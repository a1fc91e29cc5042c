"""Results as bytes: items into chunks, chunks into the streamed body. Reading is concatenation."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from videoqueue.errors import VideoqueueError
from videoqueue.jobs.database import reading
from videoqueue.jobs.tables import CHUNK

_PAYLOAD = sa.select(CHUNK.c.payload).where(
    CHUNK.c.job_id == sa.bindparam("wanted_job"), CHUNK.c.seq == sa.bindparam("wanted_seq")
)
_decoder = json.JSONDecoder()


def encode(items: Sequence[Mapping[str, Any]]) -> bytes:
    """The JSON of consecutive items, joined by commas; the same items give the same bytes.

    Raises:
        ValueError: an item holds NaN or an infinity, which JSON does not have.
    """
    return ",".join(
        json.dumps(item, ensure_ascii=False, allow_nan=False, separators=(",", ":")) for item in items
    ).encode()


@dataclass(frozen=True)
class Position:
    """Before which item a page begins: the chunk it is in, and how many of that chunk come before it."""

    seq: int = 0
    offset: int = 0


class ResultReader:
    """Reads a job's chunks one by one, each in a short transaction, so that a slow client holds nothing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def chunks(self, job_id: uuid.UUID) -> Iterator[bytes]:
        """Payloads in order."""
        seq = 0
        while (payload := self._chunk(job_id, seq)) is not None:
            yield payload
            seq += 1

    def require_readable(self, job_id: uuid.UUID) -> None:
        """Reads nothing, but as the results would be read.

        Raises:
            DatabaseUnavailableError: the database does not answer, or refuses.
        """
        with reading(self._engine) as connection:
            connection.execute(_PAYLOAD.limit(0), {"wanted_job": job_id, "wanted_seq": 0})

    def etag(self, job_id: uuid.UUID) -> str:
        """SHA-256 of the `results` array as served; hexadecimal."""
        digest = hashlib.sha256()
        for piece in self._array(job_id):
            digest.update(piece)
        return digest.hexdigest()

    def array(self, job_id: uuid.UUID, etag: str) -> Iterator[bytes]:
        """The bytes of the `results` array, whose digest must be `etag`.

        Raises:
            VideoqueueError: after the last chunk but before the closing bracket, when anything is missing or
                changed, so that a damaged answer never ends validly.
        """
        digest = hashlib.sha256()
        held = b""
        for piece in self._array(job_id):
            digest.update(piece)
            if held:
                yield held
            held = piece
        if digest.hexdigest() != etag:
            raise _damaged()
        yield held

    def page(
        self, job_id: uuid.UUID, etag: str, start: Position, size: int
    ) -> Generator[bytes, None, Position | None]:
        """The bytes of an array of at most `size` items; returns where the next page begins, None at the end.

        Only the chunks of the page are read; those of the last one tell nothing of what may be missing
        behind them, so there all are compared with `etag`.

        Raises:
            VideoqueueError: before the closing bracket, as in `array`.
        """
        seq, offset, left = start.seq, start.offset, size
        separator = b"["
        while (payload := self._chunk(job_id, seq)) is not None:
            if left == 0:
                yield b"]"
                return Position(seq, offset)
            items = _split(payload)
            wanted = items[offset : offset + left]
            if wanted:
                yield separator + b",".join(wanted)
                separator = b","
            left -= len(wanted)
            offset += len(wanted)
            if offset >= len(items):
                seq, offset = seq + 1, 0
        if self.etag(job_id) != etag:
            raise _damaged()
        yield b"]" if separator == b"," else b"[]"
        return None

    def _array(self, job_id: uuid.UUID) -> Iterator[bytes]:
        separator = b"["
        for payload in self.chunks(job_id):
            yield separator + payload
            separator = b","
        yield b"]" if separator == b"," else b"[]"

    def _chunk(self, job_id: uuid.UUID, seq: int) -> bytes | None:
        with reading(self._engine) as connection:
            found = connection.execute(_PAYLOAD, {"wanted_job": job_id, "wanted_seq": seq})
            payload: bytes | None = found.scalar_one_or_none()
        return payload


def _split(payload: bytes) -> list[bytes]:
    """The items of a chunk, each as the bytes it is stored in."""
    text = payload.decode()
    items = []
    start = 0
    while start < len(text):
        _, end = _decoder.raw_decode(text, start)
        items.append(text[start:end].encode())
        start = end + 1  # the comma
    return items


def _damaged() -> VideoqueueError:
    return VideoqueueError("The stored results of this job are damaged.")
