"""Receives a video: from the request body to storage, in bounded memory.

The bytes are counted, hashed and checked while they pass.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from flask import Request

from videoqueue.api.form import HOW, Field, FileName, Part, read_form
from videoqueue.api.form_headers import boundary_of
from videoqueue.api.form_parts import FormLimits
from videoqueue.api.parameters import SubmitParameters
from videoqueue.api.problems import ApiError, too_large
from videoqueue.api.request_body import RequestBody
from videoqueue.causes import cause_fields
from videoqueue.errors import TransientError
from videoqueue.mp4 import CheckLimits, Mp4Check
from videoqueue.settings import Settings
from videoqueue.storage import ObjectStorage, ObjectWriter
from videoqueue.storage.reserve import Reserve

logger = logging.getLogger(__name__)

#: RFC 2046 allows 70 characters, but common clients use a few more.
_MAX_BOUNDARY: Final = 200
_RAW_TYPES: Final = ("", "application/octet-stream", "application/mp4")


@dataclass(frozen=True)
class Received:
    """A video that is durable in storage: its key, its size in bytes and its SHA-256 in hexadecimal."""

    key: str
    size: int
    sha256: str


class Upload:
    """A video that a client submits."""

    def __init__(self, request: Request, settings: Settings) -> None:
        """Reads nothing yet."""
        self._request = request
        self._settings = settings
        self._boundary = boundary_of(request.content_type or "")
        self._form_limits = FormLimits(
            parts=settings.max_form_parts,
            headers=settings.max_form_headers,
            header_bytes=settings.max_form_header_bytes,
            field_bytes=settings.max_form_field_bytes,
        )
        self._overhead = 0 if self._boundary is None else self._form_limits.overhead
        self._body = RequestBody(request, settings, settings.max_upload_bytes + self._overhead)

    @property
    def is_read(self) -> bool:
        """Returns True when the whole request body was read. If not, the connection must be closed."""
        return self._body.is_read

    @property
    def least_bytes(self) -> int:
        """Returns the smallest size that the video can have, as far as the headers tell; at least 1."""
        return max(1, (self._request.content_length or 0) - self._overhead)

    def check_headers(self) -> None:
        """Checks the headers, before the body is read.

        Raises:
            ApiError: `upload_too_large`, `unsupported_media_type`, or `invalid_parameter` for the boundary of
                a form.
        """
        kind = self._request.mimetype
        if self._boundary is None:
            if kind not in _RAW_TYPES and not kind.startswith("video/"):
                raise ApiError("unsupported_media_type", f"A body of type {kind} is not accepted. {HOW}")
        elif not 1 <= len(self._boundary) <= _MAX_BOUNDARY:
            raise ApiError(
                "invalid_parameter",
                f"The Content-Type names no boundary of 1 to {_MAX_BOUNDARY} characters; RFC 2046 allows "
                f"70. Let the client write this header itself. {HOW}",
            )
        self._body.check_headers()

    def store(self, storage: ObjectStorage, reserve: Reserve, parameters: SubmitParameters) -> Received:
        """Streams the video to storage, which keeps it only if it is complete and an MP4.

        Args:
            storage: where the video goes.
            reserve: asked before the video is received, and before each piece is written.
            parameters: gets each form field.

        Returns:
            The stored video.

        Raises:
            ApiError: the video is missing, too large, too slow or cut off, or a parameter is invalid.
            InvalidVideoError: the bytes are no MP4 with a video that can be read.
            StorageUnavailableError, StorageFullError: the video cannot be stored; nothing is left in storage.
        """
        reserve.require(self.least_bytes)
        key = f"inputs/{uuid.uuid4().hex}.mp4"
        with storage.open_writer(key) as writer:
            video = _Video(writer, reserve, self._settings)
            for part in self._parts():
                if isinstance(part, Field):
                    parameters.add(part.name, part.value, "form")
                elif isinstance(part, FileName):
                    parameters.suggest_name(part.value)
                else:
                    video.write(part)
            if video.size == 0 and not self._request.mimetype:
                raise ApiError("file_missing", f"The request has no body. {HOW}")
            video.finish()
            writer.commit()
        return Received(key, video.size, video.sha256)

    def _parts(self) -> Iterator[Part]:
        pieces = self._body.pieces()
        if self._boundary is None:
            return pieces
        return read_form(pieces, self._boundary, self._form_limits)


def discard(storage: ObjectStorage, received: Received) -> None:
    """Removes a stored video that no job needs. If that fails now, a worker removes it later."""
    try:
        storage.delete(received.key)
    except TransientError as error:
        logger.warning(
            "A video without a job was not removed; a worker does so later.", extra=cause_fields(error)
        )


class _Video:
    """Writes a video to storage; counts, hashes and checks its bytes."""

    def __init__(self, writer: ObjectWriter, reserve: Reserve, settings: Settings) -> None:
        self._writer = writer
        self._reserve = reserve
        self._settings = settings
        limits = CheckLimits(
            pixels=settings.max_pixels, setting_names=settings.setting_names, **settings.check_limits
        )
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
        self._reserve.require(len(piece), self.size - len(piece))
        self._writer.write(piece)

    def finish(self) -> None:
        self._check.finish()
