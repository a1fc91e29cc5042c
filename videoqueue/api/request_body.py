"""The body of a request, counted while it is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Final, cast

from flask import Request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import ClientDisconnected

from videoqueue.api.problems import ApiError, too_large
from videoqueue.server.body import TinyChunksError
from videoqueue.settings import Settings

#: Bytes read at once.
_PIECE: Final = 256 * 1024


class RequestBody:
    """The body of a request, read in pieces of at most 256 KiB.

    Attributes:
        count: the number of bytes that were read.
        is_read: whether the whole body was read.
    """

    def __init__(self, request: Request, settings: Settings, limit: int) -> None:
        """Reads nothing yet. `limit` is the maximum number of bytes."""
        self._request = request
        self._settings = settings
        self._limit = limit
        self._length = request.content_length
        self.count = 0
        self.is_read = False

    def check_headers(self) -> None:
        """Checks Content-Encoding and Content-Length.

        Raises:
            ApiError: `unsupported_media_type` or `upload_too_large`.
        """
        codings = self._request.headers.get("Content-Encoding", "")
        if any(coding.strip().lower() not in ("", "identity") for coding in codings.split(",")):
            raise ApiError(
                "unsupported_media_type",
                f"A body with Content-Encoding: {codings[:100]} is not accepted. Send the video without it.",
                {"Accept-Encoding": "identity"},  # RFC 9110 section 15.5.16
            )
        if (self._length or 0) > self._limit:
            raise ApiError("upload_too_large", too_large(self._settings))

    def pieces(self) -> Iterator[bytes]:
        """Yields the bytes as they arrive.

        Raises:
            ApiError: `upload_too_large`, `upload_timeout`, `upload_incomplete`, or `invalid_parameter` for
                chunks that are too small.
        """
        # Werkzeug's stream only copies. It is needed for servers that do not mark the end of the body.
        environ = self._request.environ
        marked = self._length is not None or environ.get("wsgi.input_terminated")
        stream = cast(IO[bytes], environ["wsgi.input"] if marked else self._request.stream)
        while piece := self._read(stream):
            self.count += len(piece)
            if self.count > self._limit:
                raise ApiError("upload_too_large", too_large(self._settings))
            yield piece
        # gunicorn reports no error for a body that is cut off.
        if self._length is not None and self.count < self._length:
            raise _incomplete()
        self.is_read = True

    def _read(self, stream: IO[bytes]) -> bytes:
        wanted = _PIECE if self._length is None else min(_PIECE, self._length - self.count)
        try:
            return stream.read(wanted) if wanted else b""
        except TimeoutError:
            raise ApiError("upload_timeout", self._too_slow()) from None
        except TinyChunksError:
            raise ApiError("invalid_parameter", self._tiny_chunks()) from None
        except (OSError, ParseException, ClientDisconnected):
            raise _incomplete() from None

    def _tiny_chunks(self) -> str:
        return (
            "The body arrives in chunks that are too small: they have to have "
            f"{self._settings.min_chunk_bytes} bytes on average (VIDEOQUEUE_MIN_CHUNK_BYTES). Send larger "
            "chunks, for example of 64 KiB, or a Content-Length."
        )

    def _too_slow(self) -> str:
        return (
            f"The video arrived too slowly: no byte within {self._settings.upload_stall_seconds:g} seconds "
            "(VIDEOQUEUE_UPLOAD_STALL_SECONDS), or fewer than "
            f"{self._settings.upload_min_bytes_per_second} bytes per second "
            "(VIDEOQUEUE_UPLOAD_MIN_BYTES_PER_SECOND). Send it again over a faster connection."
        )


def _incomplete() -> ApiError:
    return ApiError(
        "upload_incomplete", "The connection ended before the whole video arrived. Send it again."
    )
