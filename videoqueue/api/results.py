"""A completed job's results as a response: streamed, perhaps paged, perhaps gzipped, each with its ETag."""

from __future__ import annotations

import base64
import errno
import json
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from flask import Request, Response

from videoqueue.api.content_coding import gzipped, wants_gzip
from videoqueue.api.parameters import load_one
from videoqueue.api.problems import ApiError
from videoqueue.api.schemas import PageRequest
from videoqueue.api.slots import ConcurrencyLimit
from videoqueue.causes import with_cause
from videoqueue.errors import DatabaseUnavailableError
from videoqueue.jobs.deadline import set_deadline
from videoqueue.jobs.results import Position, ResultReader
from videoqueue.jobs.types import JobProgress, rfc3339

logger = logging.getLogger(__name__)

_TOKEN: Final = re.compile(r"([0-9a-f]{16})\.([0-9]{1,9})\.([0-9]{1,9})")
_DEFAULT_PAGE: Final = 1000
#: A stored chunk is sent in pieces, so that memory and waits do not depend on its size.
_PIECE: Final = 256 * 1024


@dataclass(frozen=True)
class Page:
    size: int
    start: Position


class Results:
    """One representation of a job's results."""

    def __init__(self, request: Request, job: JobProgress) -> None:
        """Raises ApiError `invalid_parameter`."""
        self._job = job
        self._etag = job.results_etag or ""
        self._page = _page(request, self._etag)
        self._gzip = wants_gzip(request.accept_encodings)

    @property
    def etag(self) -> str:
        """Another for other bytes; two pages of a job differ in it too."""
        page = self._page
        part = f".{page.size}.{page.start.seq}.{page.start.offset}" if page else ""
        return f"{self._etag}{part}{'-gzip' if self._gzip else ''}"

    def response(
        self, request: Request, reader: ResultReader, slots: ConcurrencyLimit, seconds: float
    ) -> Response:
        """200, or 304 at the price of a status request.

        `seconds` is what the database may take for each piece.

        Raises:
            ApiError: `rate_limited`.
            DatabaseUnavailableError: the results cannot be read at the moment.
        """
        # Response.make_conditional would first read the whole body to learn its length.
        if request.if_none_match.contains(self.etag):
            response = Response(iter(()), 304, mimetype="application/json")
        elif request.method == "HEAD":
            response = Response(iter(()), mimetype="application/json")
        else:
            # Once the body has begun, no error can be told any more.
            reader.require_readable(self._job.job_id)
            release = slots.take()
            pieces = _patiently(self._pieces(reader), seconds, release)
            response = Response(pieces, mimetype="application/json")
            response.call_on_close(release)  # the client may hang up before the first piece
        response.set_etag(self.etag)
        response.vary.add("Accept-Encoding")
        # To be asked for again each time, as retention may have removed the job.
        response.headers["Cache-Control"] = "private, no-cache"
        if self._gzip and response.status_code == 200:
            response.headers["Content-Encoding"] = "gzip"
        return response

    def _pieces(self, reader: ResultReader) -> Iterator[bytes]:
        body = _cut(self._body(reader))
        return gzipped(body) if self._gzip else body

    def _body(self, reader: ResultReader) -> Iterator[bytes]:
        job, page = self._job, self._page
        yield f'{{"job_id":"{job.job_id}","results":'.encode()
        end: dict[str, Any] = {
            "created_at": rfc3339(job.created_at),
            "updated_at": rfc3339(job.updated_at),
        }
        if page is None:
            yield from reader.array(job.job_id, self._etag)
        else:
            following = yield from reader.page(job.job_id, self._etag, page.start, page.size)
            end["next_page_token"] = following and _token(self._etag, following)
        yield b"," + json.dumps(end, separators=(",", ":"))[1:].encode() + b"\n"


def _page(request: Request, etag: str) -> Page | None:
    given = {name: load_one(PageRequest, name, text) for name, text in request.args.items()}
    if not given:
        return None
    token = given.get("page_token")
    return Page(given.get("page_size", _DEFAULT_PAGE), _position(token, etag) if token else Position())


def _token(etag: str, position: Position) -> str:
    plain = f"{etag[:16]}.{position.seq}.{position.offset}"
    return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


def _position(token: str, etag: str) -> Position:
    try:
        plain = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except ValueError:
        plain = ""
    match = _TOKEN.fullmatch(plain)
    if match is None or match[1] != etag[:16]:
        raise ApiError(
            "invalid_parameter",
            "page_token cannot be used: it takes the `next_page_token` of an earlier page of the same job. "
            "Leave it out to begin again.",
        )
    return Position(int(match[2]), int(match[3]))


def _cut(pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        for start in range(0, len(piece), _PIECE):
            yield piece[start : start + _PIECE]


def _patiently(pieces: Iterator[bytes], seconds: float, at_end: Callable[[], None]) -> Iterator[bytes]:
    """The client's slowness is not the database's: its time begins anew for each piece.

    A database that fails in between breaks the connection off: the answer must not end validly.
    """
    try:
        while True:
            set_deadline(seconds)
            piece = next(pieces, None)
            if piece is None:
                return
            yield piece
    except DatabaseUnavailableError as error:
        logger.warning("Results were broken off. %s", with_cause(error))
        # gunicorn closes the connection, and takes every other error for a bug.
        raise ConnectionResetError(errno.ECONNRESET, "broken off") from error
    finally:
        set_deadline(None)  # the thread goes on to other work
        at_end()
