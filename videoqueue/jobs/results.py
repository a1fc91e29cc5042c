"""Results as bytes: streams the chunks of a job as a JSON array, in bounded memory."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from videoqueue.errors import JobGoneError
from videoqueue.jobs.chunk_decoding import damaged, gathered, json_of, served_items
from videoqueue.jobs.chunk_encoding import to_json
from videoqueue.jobs.database import reading
from videoqueue.jobs.tables import CHUNK, JOB, owned_by
from videoqueue.jobs.types import OwnerScope
from videoqueue.pipeline.results import FrameItem

_PAYLOAD = (
    sa.select(CHUNK.c.payload, CHUNK.c.encoding, CHUNK.c.served_bytes)
    .join(JOB, JOB.c.job_id == CHUNK.c.job_id)
    .where(CHUNK.c.job_id == sa.bindparam("wanted_job"), CHUNK.c.seq == sa.bindparam("wanted_seq"))
)
#: The payload of a chunk, its encoding, and the bytes of its items as served; None where not known.
StoredChunk: TypeAlias = tuple[bytes, str | None, int | None]
#: Items that are decoded at once. With more, Python's garbage collector takes half of the time.
_DECODED: Final = 16


def encode(items: Sequence[Mapping[str, object]]) -> bytes:
    """Returns the JSON of consecutive items, joined by commas. Equal items have equal bytes.

    Raises:
        ValueError: an item holds NaN or an infinity, which JSON cannot represent (RFC 8259, section 6).
    """
    return b",".join(map(to_json, items))


class ResultReader:
    """Reads the chunks of a job, each in its own transaction, so that a slow client holds no connection.

    Each method takes the owner whose job it is, or `ALL_OWNERS`. A job of another owner has no chunks.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def chunk(self, job_id: uuid.UUID, owner: OwnerScope, seq: int) -> StoredChunk | None:
        """Returns the chunk with the number `seq`, or None if there is none."""
        with reading(self._engine) as connection:
            query = _PAYLOAD.where(owned_by(owner))
            found = connection.execute(query, {"wanted_job": job_id, "wanted_seq": seq})
            row = found.one_or_none()
        return None if row is None else (row.payload, row.encoding, row.served_bytes)

    def chunks(self, job_id: uuid.UUID, owner: OwnerScope) -> Iterator[bytes]:
        """Yields the JSON of each chunk in order: its items, joined by commas."""
        for chunk in self._stored(job_id, owner):
            yield b"".join(json_of(*chunk))

    def size(self, job_id: uuid.UUID, owner: OwnerScope) -> int:
        """Returns the bytes of the `results` array of the chunks so far, without reading them."""
        stored = sa.func.coalesce(CHUNK.c.served_bytes, sa.func.length(CHUNK.c.payload))
        query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(stored), 0)).select_from(
            sa.join(CHUNK, JOB, CHUNK.c.job_id == JOB.c.job_id)
        )
        with reading(self._engine) as connection:
            count, size = connection.execute(query.where(JOB.c.job_id == job_id, owned_by(owner))).one()
        return 2 + int(size) + max(0, int(count) - 1)

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

    def require_whole(self, job_id: uuid.UUID, owner: OwnerScope, found: str, etag: str) -> None:
        """Checks the SHA-256 of the `results` array that was read.

        Args:
            job_id: the job.
            owner: whose job it is.
            found: the SHA-256 of what was read.
            etag: the expected one.

        Raises:
            JobGoneError: the job was deleted in the meantime.
            VideoqueueError: chunks are missing or changed.
        """
        if found == etag:
            return
        query = sa.select(JOB.c.job_id).where(JOB.c.job_id == job_id, owned_by(owner))
        with reading(self._engine) as connection:
            is_gone = connection.execute(query).one_or_none() is None
        raise JobGoneError if is_gone else damaged()

    def array(self, job_id: uuid.UUID, owner: OwnerScope, etag: str) -> Iterator[bytes]:
        """Yields the bytes of the `results` array.

        Args:
            job_id: the job.
            owner: whose job it is.
            etag: the expected SHA-256 of the array.

        Raises:
            JobGoneError: the job was deleted in the meantime.
            VideoqueueError: the SHA-256 differs, because chunks are missing or changed. Both are raised
                before the closing bracket, so that a damaged response is never valid JSON.
        """
        digest = hashlib.sha256()
        held = b""
        for piece in self._array(job_id, owner):
            digest.update(piece)
            if held:
                yield held
            held = piece
        self.require_whole(job_id, owner, digest.hexdigest(), etag)
        yield held

    def items(
        self,
        job_id: uuid.UUID,
        owner: OwnerScope,
        etag: str,
        before_read: Callable[[], None] = lambda: None,
    ) -> Iterator[FrameItem]:
        """Yields the items of the results, decoded.

        Args:
            job_id: the job.
            owner: whose job it is.
            etag: the expected SHA-256 of the `results` array.
            before_read: called before each read of the database.

        Raises:
            VideoqueueError: as in `array`, when all items have been yielded.
        """
        pieces = self.lines(job_id, owner, etag)
        before_read()
        for piece in pieces:
            lines = piece[:-1].split(b"\n")
            for start in range(0, len(lines), _DECODED):
                yield from json.loads(b"[" + b",".join(lines[start : start + _DECODED]) + b"]")
            before_read()

    def lines(self, job_id: uuid.UUID, owner: OwnerScope, etag: str) -> Iterator[bytes]:
        """Yields the items as they are served, each with a line feed behind it, many at once.

        Args:
            job_id: the job.
            owner: whose job it is.
            etag: the expected SHA-256 of the `results` array.

        Raises:
            VideoqueueError: as in `array`, when all items have been yielded.
        """
        digest, separator = hashlib.sha256(b"["), b""
        for chunk in self._stored(job_id, owner):
            for _, piece in gathered(served_items(*chunk), b"\n"):
                digest.update(separator)
                digest.update(piece.replace(b"\n", b","))  # JSON escapes those inside of items
                separator = b","
                yield piece + b"\n"
        digest.update(b"]")
        self.require_whole(job_id, owner, digest.hexdigest(), etag)

    def chunk_before(self, job_id: uuid.UUID, owner: OwnerScope, time: float) -> int:
        """Returns the number of the last chunk that begins before a time.

        Args:
            job_id: the job.
            owner: whose job it is.
            time: seconds.

        Returns:
            0 if there is none, or if the chunks were stored by a release that did not keep their times.
        """
        query = (
            sa.select(sa.func.coalesce(sa.func.max(CHUNK.c.seq), 0))
            .join(JOB, JOB.c.job_id == CHUNK.c.job_id)
            .where(CHUNK.c.job_id == job_id, CHUNK.c.first_time < time, owned_by(owner))
        )
        with reading(self._engine) as connection:
            return int(connection.execute(query).scalar_one())

    def chunks_from(self, job_id: uuid.UUID, owner: OwnerScope, seq: int) -> Iterator[list[bytes]]:
        """Yields the items of each chunk from number `seq` on, each as it is served.

        Raises:
            VideoqueueError: a chunk is damaged; it is raised before any of its items is yielded.
        """
        for chunk in self._stored(job_id, owner, seq):
            yield list(served_items(*chunk))

    def _array(self, job_id: uuid.UUID, owner: OwnerScope) -> Iterator[bytes]:
        separator = b"["
        for chunk in self._stored(job_id, owner):
            for piece in json_of(*chunk):
                yield separator + piece
                separator = b""
            separator = b","
        yield b"]" if separator == b"," else b"[]"

    def _stored(self, job_id: uuid.UUID, owner: OwnerScope, seq: int = 0) -> Iterator[StoredChunk]:
        while (chunk := self.chunk(job_id, owner, seq)) is not None:
            yield chunk
            seq += 1
