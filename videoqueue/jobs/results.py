"""Results as bytes: items into chunks, chunks into the streamed body. Reading is concatenation."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from videoqueue.errors import VideoqueueError
from videoqueue.jobs.database import reading
from videoqueue.jobs.models import ResultChunk

_chunk = cast(sa.Table, ResultChunk.__table__)


def encode(items: Sequence[Mapping[str, Any]]) -> bytes:
    """The JSON of consecutive items, joined by commas; the same items give the same bytes.

    Raises:
        ValueError: an item holds NaN or an infinity, which JSON does not have.
    """
    return ",".join(
        json.dumps(item, ensure_ascii=False, allow_nan=False, separators=(",", ":")) for item in items
    ).encode()


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
            raise VideoqueueError("The stored results of this job are damaged.")
        yield held

    def _array(self, job_id: uuid.UUID) -> Iterator[bytes]:
        separator = b"["
        for payload in self.chunks(job_id):
            yield separator + payload
            separator = b","
        yield b"]" if separator == b"," else b"[]"

    def _chunk(self, job_id: uuid.UUID, seq: int) -> bytes | None:
        query = sa.select(_chunk.c.payload).where(_chunk.c.job_id == job_id, _chunk.c.seq == seq)
        with reading(self._engine) as connection:
            payload: bytes | None = connection.execute(query).scalar_one_or_none()
        return payload
