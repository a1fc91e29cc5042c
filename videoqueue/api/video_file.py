"""The endpoint for the submitted video."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterator
from typing import Any, Final

from flask import Blueprint, Response, current_app, request

from videoqueue.api.auth import caller
from videoqueue.api.extension import extension_of, services_of
from videoqueue.api.file_names import attachment
from videoqueue.api.lookup import JOB_ID, job_not_found, parsed_job_id
from videoqueue.api.operations import (
    ALWAYS,
    COMMON,
    DATABASE,
    IF_NONE_MATCH,
    Described,
    Operation,
    header_parameter,
    operation,
)
from videoqueue.api.parameters import require_no_parameters
from videoqueue.api.ranges import ByteRange, wanted_range
from videoqueue.causes import cause_fields
from videoqueue.errors import ObjectMissingError, TransientError
from videoqueue.jobs.types import Job
from videoqueue.storage.base import MISSING, Blocks

blueprint = Blueprint("video_file", __name__)
logger = logging.getLogger(__name__)

_TEXT: Final[Described] = {"required": True, "schema": {"type": "string"}}
_HEADERS: Final[Described] = {
    **COMMON,
    "ETag": {**_TEXT, "description": "The SHA-256 of the video."},
    "Accept-Ranges": {"required": True, "schema": {"const": "bytes"}},
    "Content-Disposition": _TEXT,
}
_CONTENT: Final[dict[str, Any]] = {"video/mp4": {"schema": {"type": "string", "format": "binary"}}}


@blueprint.get("/jobs/<job_id>/video")
@operation(
    Operation(
        scope="read",
        summary="Get the submitted video",
        description="The video of a job in any state: whole, or the range of bytes in `Range`. Of several "
        "ranges the first is sent.",
        parameters=(
            JOB_ID,
            header_parameter("Range", "The bytes to send, such as `bytes=0-999`.", {"type": "string"}),
            header_parameter(
                "If-Range",
                "The ETag of the bytes that the client has. If the video is another, it is sent whole.",
                {"type": "string"},
            ),
            IF_NONE_MATCH,
        ),
        responses={
            "200": {"description": "The video.", "headers": _HEADERS, "content": _CONTENT},
            "206": {
                "description": "A part of the video.",
                "headers": {**_HEADERS, "Content-Range": _TEXT},
                "content": _CONTENT,
            },
            "304": {"description": "The video has not changed.", "headers": _HEADERS},
        },
        problems=(
            "job_not_found",
            "video_missing",
            "range_not_satisfiable",
            "rate_limited",
            "storage_unavailable",
            *DATABASE,
            *ALWAYS,
        ),
    )
)
def video(job_id: str) -> Response:
    """Returns the submitted video or a part of it, streamed from the storage."""
    require_no_parameters(request)
    services = services_of(current_app)
    job = services.store.get(parsed_job_id(job_id), caller().scope)
    if job is None:
        raise job_not_found()
    if request.if_none_match.contains_weak(job.input_sha256):
        response = Response(status=304)
    elif request.method == "HEAD":
        if not services.storage.exists(job.input_key):
            raise ObjectMissingError(MISSING)
        response = _response(job, None, iter(()))
    else:
        part = wanted_range(request, job.input_bytes, job.input_sha256)
        response = send_part(job, part)
    response.set_etag(job.input_sha256)
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Content-Disposition"] = attachment(job.name, str(job.job_id), "mp4")
    # Clients must revalidate each time, because the job can be deleted.
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def send_part(job: Job, part: ByteRange | None) -> Response:
    """Returns the response with a part of a job's video: 206, or 200 with the whole video for None.

    It holds a slot of the downloads until it is closed.

    Raises:
        ApiError: `rate_limited`.
        ObjectMissingError: the video is gone.
        StorageUnavailableError: the storage cannot be used.
    """
    extension = extension_of(current_app)
    wanted = part or ByteRange(0, job.input_bytes, job.input_bytes)
    release = extension.downloads.acquire()
    try:
        blocks = extension.services.storage.open_range(job.input_key, wanted.start, wanted.length)
    except BaseException:
        release()
        raise
    response = _response(job, part, _sent(blocks, release))
    response.call_on_close(blocks.close)  # the client may hang up before the first block
    response.call_on_close(release)
    return response


def _response(job: Job, part: ByteRange | None, body: Iterator[bytes]) -> Response:
    response = Response(body, 206 if part else 200, content_type="video/mp4")
    response.headers["Content-Length"] = str(part.length if part else job.input_bytes)
    if part:
        response.headers["Content-Range"] = part.content_range
    return response


def _sent(blocks: Blocks, release: Callable[[], None]) -> Iterator[bytes]:
    try:
        yield from blocks
    except TransientError as error:
        logger.warning("A video was broken off.", extra=cause_fields(error))
        # gunicorn closes the connection. It would log any other error as a bug.
        raise ConnectionResetError(errno.ECONNRESET, "broken off") from error
    finally:
        blocks.close()
        release()
