"""Request body -> storage: written once, counted, hashed and checked while it passes, in bounded memory."""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from flask import Request

from videoqueue.api.form import HOW, Field, read_form
from videoqueue.api.form_headers import boundary_of
from videoqueue.api.form_parts import FormLimits
from videoqueue.api.parameters import SubmitParameters
from videoqueue.api.problems import ApiError, too_large
from videoqueue.api.request_body import RequestBody
from videoqueue.causes import with_cause
from videoqueue.errors import TransientError
from videoqueue.mp4 import CheckLimits, Mp4Check
from videoqueue.settings import Settings
from videoqueue.storage import ObjectStorage, ObjectWriter

logger = logging.getLogger(__name__)

#: RFC 2046 allows 70 characters, but common clients make a few more.
_MAX_BOUNDARY: Final = 200
_RAW_TYPES: Final = ("", "application/octet-stream", "application/mp4")


@dataclass(frozen=True)
class Received:
    """A video that is durable in storage: its key, its size in bytes and its SHA-256 in hexadecimal."""

    key: str
    size: int
    sha256: str


class Upload:
    """One submitted video on its way in."""

    def __init__(self, request: Request, settings: Settings) -> None:
        """Looks at the headers only.

        Raises:
            ApiError: too large by its Content-Length, or of a type we do not take.
        """
        self._settings = settings
        self._form_limits = FormLimits(
            parts=settings.max_form_parts,
            headers=settings.max_form_headers,
            header_bytes=settings.max_form_header_bytes,
            field_bytes=settings.max_form_field_bytes,
        )
        self._has_type = bool(request.mimetype)
        self._boundary = boundary_of(request.content_type or "")
        overhead = 0
        if self._boundary is not None:
            overhead = self._form_limits.overhead
            if not 1 <= len(self._boundary) <= _MAX_BOUNDARY:
                raise ApiError(
                    "invalid_parameter",
                    f"The Content-Type names no boundary of 1 to {_MAX_BOUNDARY} characters; RFC 2046 allows "
                    f"70. Let the client write this header itself. {HOW}",
                )
        elif request.mimetype not in _RAW_TYPES and not request.mimetype.startswith("video/"):
            raise ApiError("unsupported_media_type", f"Cannot take a body of type {request.mimetype}. {HOW}")
        self._body = RequestBody(request, settings, settings.max_upload_bytes + overhead)

    def store(self, storage: ObjectStorage, parameters: SubmitParameters) -> Received:
        """Streams the video to storage, where it appears only if it is whole and an MP4.

        Form fields go to `parameters` as they come.

        Raises:
            ApiError: missing, too large, too slow or cut off, or a parameter that cannot be used.
            InvalidVideoError: no MP4 with a video we can read.
            StorageUnavailableError, StorageFullError: nothing is left behind.
        """
        key = f"inputs/{uuid.uuid4().hex}.mp4"
        with storage.open_writer(key) as writer:
            video = _Video(writer, self._settings)
            for part in self._parts():
                if isinstance(part, Field):
                    parameters.add(part.name, part.value, "form")
                else:
                    video.write(part)
            if video.size == 0 and not self._has_type:
                raise ApiError("file_missing", f"The request has no body. {HOW}")
            video.finish()
            writer.commit()
        return Received(key, video.size, video.sha256)

    def _parts(self) -> Iterator[Field | bytes]:
        pieces = self._body.pieces()
        if self._boundary is None:
            return pieces
        return read_form(pieces, self._boundary, self._form_limits)


def discard(storage: ObjectStorage, received: Received) -> None:
    """Removes a stored video that no job needs; what cannot be removed now is left to the workers' purge."""
    try:
        storage.delete(received.key)
    except TransientError as error:
        logger.warning("A video without a job was not removed; a worker does so later. %s", with_cause(error))


class _Video:
    """Passes bytes on to storage, counted, hashed and checked."""

    def __init__(self, writer: ObjectWriter, settings: Settings) -> None:
        self._writer = writer
        self._settings = settings
        limits = CheckLimits(pixels=settings.max_pixels, **settings.check_limits)
        self._check = Mp4Check(limits, settings.accept_truncated)
        self._digest = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def write(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.size > self._settings.max_upload_bytes:
            raise ApiError("upload_too_large", too_large(self._settings))
        self._check.feed(piece)
        self._digest.update(piece)
        self._writer.write(piece)

    def finish(self) -> None:
        self._check.finish()
