"""The page at /, its files, and the video for its player.

The page has no build step and loads nothing from elsewhere. Its policy allows no inline script or style.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Final

from flask import Blueprint, Response, current_app, request

from videoqueue.api.auth import caller
from videoqueue.api.extension import services_of
from videoqueue.api.lookup import job_not_found, parsed_job_id
from videoqueue.api.operations import ALWAYS, DATABASE, Operation, operation
from videoqueue.api.problems import ApiError
from videoqueue.api.ranges import ByteRange, wanted_range
from videoqueue.api.video_file import send_part

blueprint = Blueprint("page", __name__)

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: The media types of the page's files, by the end of the name. Others are not served.
_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
#: The largest part of a video that is sent at once. A browser asks for the next part when it needs it, so a
#: paused player holds no thread.
MAX_PART: Final = 1024 * 1024


@dataclass(frozen=True)
class _File:
    content: bytes
    media_type: str
    etag: str


@lru_cache(maxsize=1)
def _files() -> dict[str, _File]:
    """Reads the page's files once: a request must not fail because a file cannot be opened."""
    found = {}
    for entry in files("videoqueue.web").joinpath("static").iterdir():
        media_type = _TYPES.get(entry.name.rpartition(".")[2])
        if media_type is not None:
            content = entry.read_bytes()
            found[entry.name] = _File(content, media_type, hashlib.sha256(content).hexdigest())
    return found


@blueprint.record
def _read_files(_state: object) -> None:
    _files()


def open_operation(summary: str) -> Operation:
    """Returns the description of an address of the page that strangers may use."""
    return Operation(
        scope=None, summary=summary, description="", responses={}, problems=ALWAYS, is_documented=False
    )


@blueprint.get("/")
@operation(open_operation("Get the page"))
def index() -> Response:
    """Returns the page."""
    return _sent("index.html")


@blueprint.get("/ui/<name>")
@operation(open_operation("Get a file of the page"))
def asset(name: str) -> Response:
    """Returns a script, a style or a picture of the page."""
    return _sent(name)


def _sent(name: str) -> Response:
    found = _files().get(name)
    if found is None:
        raise ApiError("not_found", "The page has no such file. It is at the address /.")
    response = Response(found.content, content_type=found.media_type)
    response.set_etag(found.etag)
    response.headers["Content-Security-Policy"] = POLICY
    # Clients must revalidate each time, because another release has other files.
    response.headers["Cache-Control"] = "no-cache"
    response.make_conditional(request)
    return response


@blueprint.get("/ui/jobs/<job_id>/video")
@operation(
    Operation(
        scope="read",
        summary="Get a part of the submitted video",
        description="",
        responses={},
        problems=(
            "job_not_found",
            "video_missing",
            "range_not_satisfiable",
            "rate_limited",
            "storage_unavailable",
            *DATABASE,
            *ALWAYS,
        ),
        is_documented=False,
    )
)
def video(job_id: str) -> Response:
    """Returns at most `MAX_PART` bytes of the submitted video, from where the request asks for."""
    job = services_of(current_app).store.get(parsed_job_id(job_id), caller().scope)
    if job is None:
        raise job_not_found()
    size = job.input_bytes
    wanted = wanted_range(request, size, job.input_sha256) or ByteRange(0, size, size)
    response = send_part(job, ByteRange(wanted.start, min(wanted.end, wanted.start + MAX_PART), size))
    response.set_etag(job.input_sha256)
    response.headers["Accept-Ranges"] = "bytes"
    # The job can be deleted, so the browser must ask each time.
    response.headers["Cache-Control"] = "private, no-cache"
    return response
