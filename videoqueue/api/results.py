"""The results of a completed job as a response: streamed, whole or one page, plain or gzip, with an ETag."""

from __future__ import annotations

import base64
import errno
import json
import logging
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, cast

from flask import Request, Response
from werkzeug.datastructures import Accept

from videoqueue.api.admission import RequestLimit
from videoqueue.api.parameters import load_one
from videoqueue.api.problems import ApiError
from videoqueue.api.schemas import PageRequest
from videoqueue.causes import cause_fields
from videoqueue.errors import DatabaseUnavailableError
from videoqueue.jobs.deadline import set_deadline
from videoqueue.jobs.results import Position, ResultReader
from videoqueue.jobs.types import JobProgress, OwnerScope, rfc3339

logger = logging.getLogger(__name__)

_TOKEN: Final = re.compile(r"([0-9a-f]{16})\.([0-9]{1,9})\.([0-9]{1,9})")
_DEFAULT_PAGE: Final = 1000
#: Bytes sent at once, so that memory and waits do not depend on the size of a stored chunk.
_PIECE: Final = 256 * 1024
_GZIP_LEVEL: Final = 1
#: The `wbits` of zlib for the gzip format with a window of 32 KiB.
_GZIP_FORMAT: Final = 31


@dataclass(frozen=True)
class Page:
    """At most `size` frames, from the position `start`."""

    size: int
    start: Position


class Results:
    """One representation of a job's results."""

    def __init__(self, request: Request, job: JobProgress, owner: OwnerScope) -> None:
        """Validates the parameters of the request.

        Args:
            request: the request.
            job: a completed job.
            owner: whose jobs the caller may read.

        Raises:
            ApiError: `invalid_parameter`.
        """
        self._job = job
        self._owner = owner
        self._etag = job.results_etag or ""
        self._page = _page(request, self._etag)
        self._gzip = wants_gzip(request.accept_encodings)

    @property
    def etag(self) -> str:
        """Returns the ETag of this representation; each page and each content coding has its own."""
        page = self._page
        part = f".{page.size}.{page.start.seq}.{page.start.offset}" if page else ""
        return f"{self._etag}{part}{'-gzip' if self._gzip else ''}"

    def response(
        self, request: Request, reader: ResultReader, limit: RequestLimit, seconds: float
    ) -> Response:
        """Returns the response: 200 with a streamed body, or 304 without reading the results.

        Args:
            request: the request; its `If-None-Match` decides on 304.
            reader: reads the stored chunks.
            limit: a slot of it is held until the response is closed.
            seconds: how long the database may take for each piece.

        Raises:
            ApiError: `rate_limited`.
            DatabaseUnavailableError: the results cannot be read now.
        """
        # Response.make_conditional would read the whole body first, to get its length.
        if request.if_none_match.contains(self.etag):
            response = Response(iter(()), 304, mimetype="application/json")
        elif request.method == "HEAD":
            response = Response(iter(()), mimetype="application/json")
        else:
            # After the first byte of the body no error response can be sent.
            reader.require_readable(self._job.job_id, self._owner)
            release = limit.acquire()
            pieces = _with_deadline(self._pieces(reader), seconds, release)
            response = Response(pieces, mimetype="application/json")
            response.call_on_close(release)  # the client may hang up before the first piece
        response.set_etag(self.etag)
        response.vary.add("Accept-Encoding")
        # Clients must revalidate each time, because retention can remove the job.
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
        end: dict[str, str | None] = {
            "created_at": rfc3339(job.created_at),
            "updated_at": rfc3339(job.updated_at),
        }
        if page is None:
            yield from reader.array(job.job_id, self._owner, self._etag)
        else:
            following = yield from reader.page(job.job_id, self._owner, self._etag, page.start, page.size)
            end["next_page_token"] = None if following is None else _token(self._etag, following)
        yield b"," + json.dumps(end, separators=(",", ":"))[1:].encode() + b"\n"


def _page(request: Request, etag: str) -> Page | None:
    given = {name: load_one(PageRequest, name, text) for name, text in request.args.items()}
    if not given:
        return None
    size = cast(int, given.get("page_size", _DEFAULT_PAGE))
    token = cast(str, given.get("page_token", ""))
    return Page(size, _position(token, etag) if token else Position())


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
            "Leave it out to start with the first page.",
        )
    return Position(int(match[2]), int(match[3]))


def _cut(pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        for start in range(0, len(piece), _PIECE):
            yield piece[start : start + _PIECE]


def _with_deadline(pieces: Iterator[bytes], seconds: float, release: Callable[[], None]) -> Iterator[bytes]:
    """Resets the database deadline before each piece, so that a slow client does not use it up.

    If the database fails in between, the connection is broken off: the client must not take the body for a
    whole one.
    """
    try:
        while True:
            set_deadline(seconds)
            piece = next(pieces, None)
            if piece is None:
                return
            yield piece
    except DatabaseUnavailableError as error:
        logger.warning("Results were broken off.", extra=cause_fields(error))
        # gunicorn closes the connection. It would log any other error as a bug.
        raise ConnectionResetError(errno.ECONNRESET, "broken off") from error
    finally:
        set_deadline(None)  # the thread serves other requests afterwards
        release()


def wants_gzip(accepted: Accept) -> bool:
    """Returns whether gzip is the preferred content coding (RFC 9110 section 12.5.3).

    It is when its quality is not lower than that of the plain body, or when the plain body is not acceptable.
    """
    offered = {name.lower(): quality for name, quality in accepted}
    rest = offered.get("*", 0)
    gzip = max(offered.get("gzip", rest), offered.get("x-gzip", 0))
    if "identity" in offered:
        return gzip >= offered["identity"] if gzip else offered["identity"] == 0 and "gzip" not in offered
    return gzip > 0


def gzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yields the gzip of the pieces. The same bytes always have the same gzip: its header has no time."""
    compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)
    for piece in pieces:
        if packed := compressor.compress(piece):
            yield packed
    yield compressor.flush()
