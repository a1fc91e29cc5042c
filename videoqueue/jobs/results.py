"""Results as bytes: encodes items into chunks, and streams chunks as a JSON array without decoding them."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from videoqueue.errors import VideoqueueError
from videoqueue.jobs.database import reading
from videoqueue.jobs.tables import CHUNK, JOB, owned_by
from videoqueue.jobs.types import OwnerScope

_PAYLOAD = (
    sa.select(CHUNK.c.payload)
    .join(JOB, JOB.c.job_id == CHUNK.c.job_id)
    .where(CHUNK.c.job_id == sa.bindparam("wanted_job"), CHUNK.c.seq == sa.bindparam("wanted_seq"))
)
_decoder = json.JSONDecoder()


def encode(items: Sequence[Mapping[str, object]]) -> bytes:
    """Returns the JSON of consecutive items, joined by commas. Equal items have equal bytes.

    Raises:
        ValueError: an item holds NaN or an infinity, which JSON cannot represent (RFC 8259, section 6).
    """
    return ",".join(
        json.dumps(item, ensure_ascii=False, allow_nan=False, separators=(",", ":")) for item in items
    ).encode()


@dataclass(frozen=True)
class Position:
    """The start of a page: the number of a chunk, and the number of that chunk's items to skip."""

    seq: int = 0
    offset: int = 0


class ResultReader:
    """Reads the chunks of a job, each in its own transaction, so that a slow client holds no connection.

    Each method takes the owner whose job it is, or `ALL_OWNERS`. A job of another owner has no chunks.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def chunks(self, job_id: uuid.UUID, owner: OwnerScope) -> Iterator[bytes]:
        """Yields the payloads of the job's chunks in order."""
        seq = 0
        while (payload := self._chunk(job_id, owner, seq)) is not None:
            yield payload
            seq += 1

    def require_readable(self, job_id: uuid.UUID, owner: OwnerScope) -> None:
        """Checks that results can be read, without reading any.

        Raises:
            DatabaseUnavailableError: the database does not respond, or refuses the statement.
        """
        with reading(self._engine) as connection:
            connection.execute(
                _PAYLOAD.where(owned_by(owner)).limit(0), {"wanted_job": job_id, "wanted_seq": 0}
            )

    def digest(self, job_id: uuid.UUID, owner: OwnerScope) -> tuple[str, int]:
        """Returns the SHA-256 of the `results` array as served, in hexadecimal, and its bytes."""
        digest, size = hashlib.sha256(), 0
        for piece in self._array(job_id, owner):
            digest.update(piece)
            size += len(piece)
        return digest.hexdigest(), size

    def etag(self, job_id: uuid.UUID, owner: OwnerScope) -> str:
        """Returns the SHA-256 of the `results` array as served, in hexadecimal."""
        return self.digest(job_id, owner)[0]

    def array(self, job_id: uuid.UUID, owner: OwnerScope, etag: str) -> Iterator[bytes]:
        """Yields the bytes of the `results` array.

        Args:
            job_id: the job.
            owner: whose job it is.
            etag: the expected SHA-256 of the array.

        Raises:
            VideoqueueError: the SHA-256 differs, because chunks are missing or changed. It is raised before
                the closing bracket, so that a damaged response is never valid JSON.
        """
        digest = hashlib.sha256()
        held = b""
        for piece in self._array(job_id, owner):
            digest.update(piece)
            if held:
                yield held
            held = piece
        if digest.hexdigest() != etag:
            raise _damaged()
        yield held

    def page(
        self, job_id: uuid.UUID, owner: OwnerScope, etag: str, start: Position, size: int
    ) -> Generator[bytes, None, Position | None]:
        """Yields the bytes of an array of one page.

        Reads only the chunks of the page. On the last page it also compares the whole array with `etag`,
        because chunks may be missing at the end.

        Args:
            job_id: the job.
            owner: whose job it is.
            etag: the expected SHA-256 of the whole array.
            start: the start of the page.
            size: the maximum number of items.

        Returns:
            The start of the next page, or None after the last one.

        Raises:
            VideoqueueError: as in `array`.
        """
        seq, offset, left = start.seq, start.offset, size
        separator = b"["
        while (payload := self._chunk(job_id, owner, seq)) is not None:
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
        if self.etag(job_id, owner) != etag:
            raise _damaged()
        yield b"]" if separator == b"," else b"[]"
        return None

    def _array(self, job_id: uuid.UUID, owner: OwnerScope) -> Iterator[bytes]:
        separator = b"["
        for payload in self.chunks(job_id, owner):
            yield separator + payload
            separator = b","
        yield b"]" if separator == b"," else b"[]"

    def _chunk(self, job_id: uuid.UUID, owner: OwnerScope, seq: int) -> bytes | None:
        with reading(self._engine) as connection:
            query = _PAYLOAD.where(owned_by(owner))
            found = connection.execute(query, {"wanted_job": job_id, "wanted_seq": seq})
            payload: bytes | None = found.scalar_one_or_none()
        return payload


def _split(payload: bytes) -> list[bytes]:
    """Returns the items of a chunk, each as the stored bytes."""
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
