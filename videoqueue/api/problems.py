"""Every error response: `application/problem+json` (RFC 9457), from one table. None has a stack trace."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import partial
from typing import Final, Literal

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from videoqueue import audit
from videoqueue.causes import cause_fields
from videoqueue.errors import VideoqueueError
from videoqueue.logs import request_id
from videoqueue.settings import Settings

logger = logging.getLogger(__name__)

ProblemCode = Literal[
    "file_missing",
    "file_empty",
    "not_mp4",
    "truncated_mp4",
    "no_video_track",
    "unsupported_video",
    "upload_incomplete",
    "invalid_parameter",
    "unknown_pipeline",
    "unauthorized",
    "forbidden",
    "cross_site",
    "job_not_found",
    "results_not_ready",
    "job_failed",
    "video_missing",
    "not_found",
    "method_not_allowed",
    "upload_timeout",
    "not_retryable",
    "video_size_unknown",
    "upload_too_large",
    "unsupported_media_type",
    "range_not_satisfiable",
    "expectation_failed",
    "unknown_host",
    "idempotency_key_reused",
    "rate_limited",
    "quota_exceeded",
    "internal_error",
    "too_many_pending_jobs",
    "not_ready",
    "database_unavailable",
    "storage_unavailable",
    "storage_full",
]

#: The HTTP status and the title of each problem.
PROBLEMS: Final[Mapping[ProblemCode, tuple[int, str]]] = {
    "file_missing": (400, "No video in the request"),
    "file_empty": (400, "The video is empty"),
    "not_mp4": (400, "Not an MP4 file"),
    "truncated_mp4": (400, "The MP4 file ends early"),
    "no_video_track": (400, "No video in the MP4 file"),
    "unsupported_video": (400, "Unsupported video"),
    "upload_incomplete": (400, "The upload ended early"),
    "invalid_parameter": (400, "Invalid parameter"),
    "unknown_pipeline": (400, "Unknown pipeline"),
    "unauthorized": (401, "A key is needed"),
    "forbidden": (403, "Not allowed for this caller"),
    "cross_site": (403, "A request of another site"),
    "job_not_found": (404, "No such job"),
    "results_not_ready": (404, "Results not ready"),
    "job_failed": (404, "The job failed"),
    "video_missing": (404, "The video is gone"),
    "not_found": (404, "No such address"),
    "method_not_allowed": (405, "Method not allowed"),
    "upload_timeout": (408, "The upload was too slow"),
    "not_retryable": (409, "The job cannot be retried"),
    "video_size_unknown": (409, "The size of the video is not known"),
    "upload_too_large": (413, "The video is too large"),
    "unsupported_media_type": (415, "Unsupported media type"),
    "range_not_satisfiable": (416, "No such bytes"),
    "expectation_failed": (417, "Unknown expectation"),
    "unknown_host": (421, "Unknown name of the service"),
    "idempotency_key_reused": (422, "Idempotency-Key used before"),
    "rate_limited": (429, "Too many requests at once"),
    "quota_exceeded": (429, "A limit of the owner is reached"),
    "internal_error": (500, "Internal error"),
    "too_many_pending_jobs": (503, "Too many jobs are waiting"),
    "not_ready": (503, "Not ready"),
    "database_unavailable": (503, "Database unavailable"),
    "storage_unavailable": (503, "Storage unavailable"),
    "storage_full": (507, "Storage full"),
}

#: Statuses of requests that can succeed when they are repeated; `Retry-After` has the seconds to wait.
TRY_AGAIN: Final = frozenset({408, 429, 503, 507})
_RETRY_SECONDS = 5
#: Refusals by a limit, which the audit log records.
_BY_LIMIT: Final[frozenset[str]] = frozenset(
    {"quota_exceeded", "rate_limited", "too_many_pending_jobs", "upload_too_large"}
)


class ApiError(VideoqueueError):
    """An error of the HTTP edge.

    Args:
        code: the code of the problem.
        detail: the message for the user.
        headers: further headers of the response.
    """

    def __init__(self, code: ProblemCode, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.headers = headers or {}


def problem(code: ProblemCode, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """Returns the response for a problem; `detail` is the message for the user."""
    status, title = PROBLEMS[code]
    if code in _BY_LIMIT:
        audit.record("request_refused", code=code, method=request.method, path=request.path)
    body = {
        "type": f"urn:videoqueue:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": f"urn:videoqueue:request:{request_id()}",
        "code": code,
    }
    response = Response(json.dumps(body) + "\n", status, mimetype="application/problem+json")
    response.headers.update(headers or {})
    response.headers["Cache-Control"] = "no-store"
    if status in TRY_AGAIN:
        response.headers["Retry-After"] = str(_RETRY_SECONDS)
    return response


def register(app: Flask, settings: Settings) -> None:
    """Makes every error of the application a problem, including routing errors."""
    app.register_error_handler(HTTPException, partial(_http_error, settings))
    app.register_error_handler(Exception, _unexpected)
    app.register_error_handler(VideoqueueError, _expected)


def _expected(error: VideoqueueError) -> Response:
    code = next((code for code in PROBLEMS if code == error.code), None)
    if code is None:
        return _unexpected(error)
    if PROBLEMS[code][0] >= 500:
        if isinstance(error, ApiError):
            logger.warning("A request was rejected: %s", error)
        else:
            logger.error("A request failed.", extra=cause_fields(error))
    return problem(code, str(error), error.headers if isinstance(error, ApiError) else None)


def _http_error(settings: Settings, error: HTTPException) -> Response:
    if error.code == 404:
        return problem(
            "not_found",
            f"There is nothing at {request.path}. The API begins at /video/submit; /docs describes it.",
        )
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        detail = f"{request.path} takes {allowed}, not {request.method}."
        return problem("method_not_allowed", detail, {"Allow": allowed})
    if error.code == 413:
        return problem("upload_too_large", too_large(settings))
    if error.code == 415:
        return problem("unsupported_media_type", "Send multipart/form-data or a raw video/mp4 body.")
    if error.code is not None and error.code < 500:
        return problem(
            "invalid_parameter", "The request could not be read: it is not valid HTTP or form data."
        )
    return _unexpected(error)


def too_large(settings: Settings) -> str:
    """Returns the message of `upload_too_large`."""
    return (
        f"The video is larger than {settings.max_upload_bytes} bytes (VIDEOQUEUE_MAX_UPLOAD_BYTES). "
        "Send a shorter or smaller one, or ask for a higher limit."
    )


def _unexpected(error: Exception) -> Response:
    logger.error("A request failed unexpectedly.", exc_info=error)
    return problem(
        "internal_error",
        "An error occurred in the service. It has been logged: report the X-Request-Id to the operator.",
    )
