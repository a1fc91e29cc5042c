"""A request's body piece by piece: counted, and an error when it is too large, too slow or cut off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Final, cast

from flask import Request, g
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import ClientDisconnected

from videoqueue.api.problems import ApiError, too_large
from videoqueue.settings import Settings

_PIECE: Final = 256 * 1024


class RequestBody:
    def __init__(self, request: Request, settings: Settings, limit: int) -> None:
        """`limit` is the most bytes it may have.

        Raises:
            ApiError: `upload_too_large`, by its Content-Length; `unsupported_media_type`, by its
                Content-Encoding.
        """
        _require_plain(request.headers.get("Content-Encoding", ""))
        self._settings = settings
        self._limit = limit
        self._length = request.content_length
        self.count = 0
        if (self._length or 0) > limit:
            raise ApiError("upload_too_large", too_large(settings))
        # Werkzeug's own stream, which would only copy, is for servers that do not mark the body's end.
        marked = self._length is not None or request.environ.get("wsgi.input_terminated")
        self._stream = cast(IO[bytes], request.environ["wsgi.input"] if marked else request.stream)

    def pieces(self) -> Iterator[bytes]:
        """The bytes as they come.

        Raises:
            ApiError: `upload_too_large`, `upload_timeout` or `upload_incomplete`.
        """
        while piece := self._read():
            self.count += len(piece)
            if self.count > self._limit:
                raise ApiError("upload_too_large", too_large(self._settings))
            yield piece
        # gunicorn gives a cut body as a short one.
        if self._length is not None and self.count < self._length:
            raise _incomplete()
        g.body_was_read = True

    def _read(self) -> bytes:
        wanted = _PIECE if self._length is None else min(_PIECE, self._length - self.count)
        try:
            return self._stream.read(wanted) if wanted else b""
        except TimeoutError:
            raise ApiError("upload_timeout", self._too_slow()) from None
        except (OSError, ParseException, ClientDisconnected):
            raise _incomplete() from None

    def _too_slow(self) -> str:
        return (
            f"The video came too slowly: nothing for {self._settings.upload_stall_seconds:g} seconds "
            "(VIDEOQUEUE_UPLOAD_STALL_SECONDS), or fewer than "
            f"{self._settings.upload_min_bytes_per_second} bytes a second "
            "(VIDEOQUEUE_UPLOAD_MIN_BYTES_PER_SECOND). Send it again over a faster connection."
        )


def _require_plain(codings: str) -> None:
    named = [coding.strip().lower() for coding in codings.split(",")]
    if any(coding not in ("", "identity") for coding in named):
        raise ApiError(
            "unsupported_media_type",
            f"Cannot take a body with Content-Encoding: {codings[:100]}. Send it as it is: videos are "
            "compressed already.",
            {"Accept-Encoding": "identity"},  # RFC 9110 section 15.5.16
        )


def _incomplete() -> ApiError:
    return ApiError(
        "upload_incomplete", "The connection ended before the whole video arrived. Send it again."
    )
