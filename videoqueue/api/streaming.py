"""Responses that are too long for memory: sent in pieces, plain or gzip, with an ETag, within a limit."""

from __future__ import annotations

import errno
import logging
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from flask import Request, Response
from werkzeug.datastructures import Accept

from videoqueue.api.admission import RequestLimit
from videoqueue.causes import cause_fields
from videoqueue.errors import DatabaseUnavailableError, JobGoneError
from videoqueue.jobs.deadline import set_deadline

logger = logging.getLogger(__name__)

#: Bytes sent at once, so that memory and waits do not depend on the size of a stored chunk.
_PIECE: Final = 256 * 1024
_GZIP_LEVEL: Final = 1
#: The `wbits` of zlib for the gzip format with a window of 32 KiB.
_GZIP_FORMAT: Final = 31


@dataclass(frozen=True)
class Derived:
    """A response that is a function of a job's results.

    Attributes:
        etag: the ETag of the body before gzip.
        body: returns the pieces of the body. Called within a slot of the limit, before the response begins:
            its errors are sent as problems. The errors of the iteration break the connection off.
        media_type: the value of Content-Type.
        headers: further headers of the response 200.
    """

    etag: str
    body: Callable[[], Iterable[bytes]]
    media_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)

    def response(self, request: Request, limit: RequestLimit, seconds: float) -> Response:
        """Returns the response: 200 with a streamed body, or 304 without making the body.

        Args:
            request: the request; its `If-None-Match` decides on 304.
            limit: a slot of it is held until the response is closed.
            seconds: how long the database may take for each piece.

        Raises:
            ApiError: `rate_limited`.
        """
        packed = wants_gzip(request.accept_encodings)
        etag = f"{self.etag}-gzip" if packed else self.etag
        # Response.make_conditional would read the whole body first, to get its length.
        # Proxies that compress make a tag weak; the comparison is a weak one (RFC 9110 section 13.1.2).
        if request.if_none_match.contains_weak(etag):
            response = Response(iter(()), 304, content_type=self.media_type)
        elif request.method == "HEAD":
            response = Response(iter(()), content_type=self.media_type, headers=self.headers)
        else:
            response = self._streamed(packed, limit, seconds)
        response.set_etag(etag)
        response.vary.add("Accept-Encoding")
        # Clients must revalidate each time, because retention can remove the job.
        response.headers["Cache-Control"] = "private, no-cache"
        if packed and response.status_code == 200:
            response.headers["Content-Encoding"] = "gzip"
        return response

    def _streamed(self, packed: bool, limit: RequestLimit, seconds: float) -> Response:
        release = limit.acquire()
        try:
            pieces = cut(self.body())
        except BaseException:
            release()
            raise
        sent = with_deadline(gzipped(pieces) if packed else pieces, seconds, release)
        response = Response(sent, content_type=self.media_type, headers=self.headers)
        response.call_on_close(release)  # the client may hang up before the first piece
        return response


def cut(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yields the pieces, none of them longer than 256 KiB."""
    for piece in pieces:
        for start in range(0, len(piece), _PIECE):
            yield piece[start : start + _PIECE]


def with_deadline(pieces: Iterator[bytes], seconds: float, release: Callable[[], None]) -> Iterator[bytes]:
    """Yields the pieces, each with a new database deadline, so that a slow client does not use it up.

    If the database fails in between, or the job is deleted, the connection is broken off: the client must not
    take the body for a whole one.
    """
    try:
        while True:
            set_deadline(seconds)
            piece = next(pieces, None)
            if piece is None:
                return
            yield piece
    except (DatabaseUnavailableError, JobGoneError) as error:
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
