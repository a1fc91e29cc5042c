"""A real gunicorn as the Procfile starts it, and what it leaves in database, storage and queue."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
import requests
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tests.support.records import lease_policy, new_job
from tests.support.stack import Service, eventually
from videoqueue.broker import QUEUE
from videoqueue.errors import ErrorCode
from videoqueue.jobs.chunk_encoding import EncodedChunk
from videoqueue.jobs.database import engine_options, prepare
from videoqueue.jobs.results import ResultReader
from videoqueue.jobs.store import JobStore
from videoqueue.jobs.tables import JobRow
from videoqueue.jobs.types import ALL_OWNERS

RAW = {"Content-Type": "video/mp4"}


@dataclass
class Web:
    url: str
    engine: Engine
    folder: Path
    redis_url: str
    service: Service

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.url.removeprefix("http://").split(":")
        return host, int(port)

    def rows(self) -> list[sa.Row[*tuple[Any, ...]]]:
        with self.engine.connect() as connection:
            return list(connection.execute(sa.select(JobRow.__table__)))

    def files(self) -> list[Path]:
        return [path for path in (self.folder / "objects").rglob("*") if path.is_file()]

    def queued(self) -> list[dict[str, Any]]:
        with redis.Redis.from_url(self.redis_url) as client:
            return [json.loads(text) for text in client.hvals(f"dramatiq:{QUEUE}.msgs")]

    def clear(self) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.delete(JobRow))
        for path in self.files():
            path.unlink()
        with redis.Redis.from_url(self.redis_url) as client:
            client.flushdb()

    def completed(self, *chunks: bytes | EncodedChunk) -> uuid.UUID:
        """A completed job with these chunks; one of bytes has one frame, as older releases stored it."""
        store = JobStore(self.engine, lease_policy(lease_seconds=600))
        claim = store.claim(store.create(new_job())[0], "test")
        assert claim is not None
        for seq, chunk in enumerate(chunks):
            if isinstance(chunk, bytes):
                store.checkpoint(claim, seq, chunk, [seq], 0.5)
            else:
                store.checkpoint(claim, seq, chunk.payload, chunk.frames, 0.5, chunk.form)
        store.complete(claim, ResultReader(self.engine).etag(claim.job_id, ALL_OWNERS))
        return claim.job_id

    def fail(self, job_id: str, message: str = "It ends early.", code: ErrorCode = "truncated_mp4") -> None:
        """Makes a pending job a failed one, as a worker does."""
        store = JobStore(self.engine, lease_policy(lease_seconds=600))
        claim = store.claim(uuid.UUID(job_id), "test")
        assert claim is not None
        store.fail(claim, message, code=code)


@contextmanager
def serving(folder: Path, prelude: str = "", **settings: str) -> Iterator[Web]:
    service = Service(folder, settings, prelude=prelude)
    service.make_tables()
    service.start_process("web")
    eventually(service.answers, "web answers")
    url = settings.get("DATABASE_URL", f"sqlite:///{folder / 'videoqueue.db'}")
    engine = sa.create_engine(url, **engine_options(url, 5))
    prepare(engine)
    try:
        yield Web(service.url, engine, folder, settings["REDIS_URL"], service)
    finally:
        engine.dispose()
        service.stop()


def post(url: str, video: Path, **parameters: object) -> requests.Response:
    with video.open("rb") as stream:
        return requests.post(f"{url}/video/submit", files={"file": stream}, data=parameters, timeout=60)


def post_raw(url: str, body: bytes, **headers: str) -> requests.Response:
    return requests.post(f"{url}/video/submit", data=body, headers=RAW | headers, timeout=60)


def padded(video: bytes, size: int) -> bytes:
    """The same video in a file of so many bytes."""
    room = size - len(video)
    return video + room.to_bytes(4, "big") + b"free" + bytes(room - 8)


class Client:
    """One connection whose bytes the test writes itself."""

    def __init__(self, web: Web, receive_buffer: int | None = None, source: str | None = None) -> None:
        self.socket = socket.socket()
        if source is not None:
            self.socket.bind((source, 0))
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(120)
        self.socket.connect(web.address)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def get(self, path: str) -> bytes:
        """The answer to a GET, after which the connection stays open."""
        self.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return self.one_answer()

    def begin_upload(self, length: int, body: bytes = b"", headers: str = "") -> None:
        """The head of a raw upload of `length` bytes, and the first of them."""
        head = f"POST /video/submit HTTP/1.1\r\nHost: localhost\r\nContent-Type: video/mp4\r\n{headers}"
        self.send(f"{head}Content-Length: {length}\r\n\r\n".encode() + body)

    def answer(self) -> bytes:
        """All that the server says until it hangs up."""
        said = b""
        while piece := self.socket.recv(65536):
            said += piece
        return said

    def one_answer(self) -> bytes:
        """The next answer, whose length is told, on a connection that stays open."""
        said = b""
        while b"\r\n\r\n" not in said:
            said += self._more()
        head, _, body = said.partition(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.splitlines() if line.startswith(b"Content-Length:")
        )
        while len(body) < length:
            body += self._more()
        assert len(body) == length
        return head + b"\r\n\r\n" + body

    def _more(self) -> bytes:
        piece = self.socket.recv(65536)
        assert piece, "the server hung up"
        return piece

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
