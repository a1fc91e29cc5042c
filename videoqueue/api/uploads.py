"""Request body -> storage: counted, hashed and checked while it passes, in bounded memory."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from typing import IO, Any, Final, cast

from flask import Request
from werkzeug.exceptions import ClientDisconnected

from videoqueue.api.problems import ApiError, too_large
from videoqueue.mp4 import Mp4Check
from videoqueue.settings import Settings
from videoqueue.storage import ObjectStorage

_PIECE: Final = 256 * 1024
_RAW_TYPES: Final = ("", "application/octet-stream", "application/mp4")
_HOW = (
    "Send it as the form field `file` (curl -F file=@video.mp4), "
    "or as a raw body with Content-Type: video/mp4."
)


@dataclass(frozen=True)
class Received:
    """A video that is durable in storage: its key, its size in bytes and its SHA-256 in hexadecimal."""

    key: str
    size: int
    sha256: str


class _CountingInput:
    """The WSGI input, counting: a body cut off in the middle of a form is otherwise just an empty form."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.count += len(data)
        return data

    def readline(self, size: int = -1) -> bytes:
        line = self._stream.readline(size)
        self.count += len(line)
        return line

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class Upload:
    """One submitted video on its way in: first the parameters, then the bytes."""

    def __init__(self, request: Request, settings: Settings) -> None:
        """Reads the form, if it is one.

        Raises:
            ApiError: too large by its Content-Length, of a type we do not take, cut off, or without a video.
        """
        self._request = request
        self._settings = settings
        if (request.content_length or 0) > settings.max_upload_bytes + _overhead(request):
            raise ApiError("upload_too_large", too_large())
        self._input = _CountingInput(cast(IO[bytes], request.environ["wsgi.input"]))
        request.environ["wsgi.input"] = self._input
        if request.mimetype == "multipart/form-data":
            self._stream = self._from_form()
        elif request.mimetype in _RAW_TYPES or request.mimetype.startswith("video/"):
            self._stream = request.stream
        else:
            raise ApiError("unsupported_media_type", f"Cannot take a body of type {request.mimetype}. {_HOW}")

    @property
    def parameters(self) -> dict[str, str]:
        """Query parameters and form fields as given."""
        return self._request.args.to_dict() | self._request.form.to_dict()

    def _from_form(self) -> IO[bytes]:
        try:
            video = self._request.files.get("file")
        except ClientDisconnected:
            raise _incomplete() from None
        if self._cut_off():
            raise _incomplete()
        if "file" in self._request.form:
            raise ApiError("file_missing", f"The form field `file` holds text, not a file. {_HOW}")
        if video is None:
            raise ApiError("file_missing", f"The form has no field `file`. {_HOW}")
        return video.stream

    def _cut_off(self) -> bool:
        expected = self._request.content_length
        return expected is not None and self._input.count < expected

    def store(self, storage: ObjectStorage) -> Received:
        """Streams the video to storage, where it appears only if it is whole and an MP4.

        Raises:
            ApiError: missing, too large or cut off.
            InvalidVideoError: no MP4 with a video we can read.
            StorageUnavailableError, StorageFullError: nothing is left behind.
        """
        key = f"inputs/{uuid.uuid4().hex}.mp4"
        check = Mp4Check(self._settings.max_pixels)
        digest = hashlib.sha256()
        size = 0
        with storage.open_writer(key) as writer:
            while piece := self._read():
                size += len(piece)
                if size > self._settings.max_upload_bytes:
                    raise ApiError("upload_too_large", too_large())
                check.feed(piece)
                digest.update(piece)
                writer.write(piece)
            if self._cut_off():
                raise _incomplete()
            if size == 0 and not self._request.mimetype:
                raise ApiError("file_missing", f"The request has no body. {_HOW}")
            check.finish()
            writer.commit()
        return Received(key, size, digest.hexdigest())

    def _read(self) -> bytes:
        try:
            return self._stream.read(_PIECE)
        except ClientDisconnected:
            raise _incomplete() from None


def _overhead(request: Request) -> int:
    limit = request.max_content_length
    return 0 if limit is None or request.mimetype != "multipart/form-data" else 64 * 1024


def _incomplete() -> ApiError:
    return ApiError(
        "upload_incomplete", "The connection ended before the whole video arrived. Send it again."
    )
