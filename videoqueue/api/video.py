"""The three endpoints for jobs: submit a video, get its status, get its results."""

from __future__ import annotations

import logging
import uuid
from typing import Final, TypeAlias

from flask import Blueprint, Response, after_this_request, current_app, request, url_for

from videoqueue.api.auth import caller
from videoqueue.api.extension import extension_of, services_of
from videoqueue.api.openapi import (
    ALWAYS,
    CACHED,
    DATABASE,
    RETRY_AFTER,
    Described,
    Operation,
    header_parameter,
    json_response,
    operation,
)
from videoqueue.api.parameters import MAX_KEY, SubmitParameters, SubmitValues, idempotency_key
from videoqueue.api.problems import ApiError
from videoqueue.api.results import Results
from videoqueue.api.schemas import JobAccepted, JobResults, JobStatus, PageRequest, SubmitRequest
from videoqueue.api.uploads import Received, Upload, discard
from videoqueue.broker import announce
from videoqueue.errors import DatabaseUnavailableError, QueueUnavailableError
from videoqueue.failpoints import failpoint
from videoqueue.jobs.deadline import set_deadline
from videoqueue.jobs.types import TERMINAL, JobProgress, NewJob
from videoqueue.services import Services

blueprint = Blueprint("video", __name__, url_prefix="/video")
logger = logging.getLogger(__name__)

JsonResponse: TypeAlias = tuple[dict[str, object], int, dict[str, str]]

#: Seconds to wait before the next request for a job that has not ended.
POLL_SECONDS: Final = "1"

_VIDEO: Final[Described] = {"type": "string", "format": "binary", "contentMediaType": "video/mp4"}
JOB_ID: Final[Described] = {
    "name": "job_id",
    "in": "path",
    "required": True,
    "description": "The id that /video/submit returned.",
    "schema": {"type": "string", "format": "uuid"},
}
#: The headers of a response that accepts a job.
ACCEPTED_HEADERS: Final[Described] = {
    "Location": {
        "description": "The address of the job's status.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference"},
    }
}


def _submit_body(fields: Described) -> Described:
    form = {"type": "object", "required": ["file"], "properties": {"file": _VIDEO, **fields}}
    return {
        "required": True,
        "description": "The video, as the field `file` of a form or as the raw body. Its maximum size is "
        "VIDEOQUEUE_MAX_UPLOAD_BYTES. A form can also have the parameters. They replace those of the query.",
        "content": {
            "multipart/form-data": {
                "schema": form | {"additionalProperties": False},
                "encoding": {"file": {"contentType": "video/mp4"}},
            },
            "video/mp4": {"schema": _VIDEO},
        },
    }


_SUBMIT = Operation(
    scope="submit",
    summary="Submit a video",
    description="Stores the video and returns a job_id. Workers process the job afterwards. An accepted job "
    "is not lost when a process crashes.",
    query=(SubmitRequest,),
    parameters=(
        header_parameter(
            "Idempotency-Key",
            "Makes it safe to repeat a submission: the same key with the same video and parameters returns "
            "the job_id of the first submission.",
            {"type": "string", "minLength": 1, "maxLength": MAX_KEY},
        ),
    ),
    body=_submit_body,
    responses={"202": json_response("The job is accepted.", JobAccepted, ACCEPTED_HEADERS)},
    problems=(
        "file_missing",
        "file_empty",
        "not_mp4",
        "truncated_mp4",
        "no_video_track",
        "unsupported_video",
        "upload_incomplete",
        "unknown_pipeline",
        "upload_timeout",
        "upload_too_large",
        "unsupported_media_type",
        "idempotency_key_reused",
        "too_many_pending_jobs",
        "rate_limited",
        "quota_exceeded",
        *DATABASE,
        "storage_unavailable",
        "storage_full",
        *ALWAYS,
    ),
)


@blueprint.post("/submit")
@operation(_SUBMIT)
def submit() -> JsonResponse:
    """Stores the video, commits the job and announces it. Returns 202 with the job ID after the commit."""
    extension = extension_of(current_app)
    services = extension.services
    upload = Upload(request, services.settings)

    @after_this_request
    def close_unless_read(response: Response) -> Response:
        # After an error in the middle of a body, the rest of the body would be taken for the next request.
        if not upload.is_read:
            response.headers["Connection"] = "close"
        return response

    key = idempotency_key(request)
    upload.check_headers()
    parameters = SubmitParameters(services.pipelines, services.settings.default_pipeline)
    for name, text in request.args.items(multi=True):
        parameters.add(name, text, "query")
    with extension.uploads.slot():
        extension.admission.require(caller().owner, key, upload.least_bytes)
        received = upload.store(services.storage, parameters)
        failpoint("web.object_stored")
    # Receiving the video has used up the time that the request had for the database.
    set_deadline(services.settings.backend_timeout_seconds)
    job_id = _create(services, received, parameters.values, key)
    location = url_for("video.status", job_id=str(job_id))
    return JobAccepted().dump({"job_id": job_id}), 202, {"Location": location}


def _create(services: Services, received: Received, values: SubmitValues, key: str | None) -> uuid.UUID:
    by = caller()
    new = NewJob(
        owner=by.owner,
        key_id=by.key_id,
        **values,
        input_key=received.key,
        input_bytes=received.size,
        input_sha256=received.sha256,
        idempotency_key=key,
    )
    try:
        job_id, is_new = services.store.create(new)
    except Exception as error:
        # If the commit may have succeeded, the job needs its video. A worker removes a video without a job.
        if not (isinstance(error, DatabaseUnavailableError) and error.may_have_committed):
            discard(services.storage, received)
        raise
    if not is_new:
        failpoint("web.duplicate_found")
        discard(services.storage, received)
        return job_id
    failpoint("web.row_committed")
    announce_accepted(services, job_id, new.input_bytes, new.pipeline_id)
    return job_id


def announce_accepted(services: Services, job_id: uuid.UUID, size: int, pipeline_id: str) -> None:
    """Logs a committed job and announces it. Without a queue, a worker finds it later."""
    logger.info("Job accepted.", extra={"job_id": job_id, "bytes": size, "pipeline_id": pipeline_id})
    try:
        announce(services.broker, job_id)
        failpoint("web.announced")
    except QueueUnavailableError as error:
        logger.warning("Job not announced; a worker will find it.", extra={"job_id": job_id, "reason": error})


@blueprint.get("/status/<job_id>")
@operation(
    Operation(
        scope="read",
        summary="Get the status of a job",
        description="While the job is pending or running, ask again after `Retry-After` seconds.",
        parameters=(JOB_ID,),
        responses={"200": json_response("The status of the job.", JobStatus, {"Retry-After": RETRY_AFTER})},
        problems=("job_not_found", *DATABASE, *ALWAYS),
    )
)
def status(job_id: str) -> JsonResponse:
    """Returns the status of the job. Reads one row by its key."""
    job = _job(services_of(current_app), job_id)
    headers = {"Cache-Control": "no-store"}
    if job.status not in TERMINAL:
        headers["Retry-After"] = POLL_SECONDS
    return JobStatus().dump(job), 200, headers


@blueprint.get("/results/<job_id>")
@operation(
    Operation(
        scope="read",
        summary="Get the results of a job",
        description="Streams the results of all frames, sorted by `frame_index`. With `page_size` or "
        "`page_token` it returns one page (1000 frames by default) and the token of the next page. If stored "
        "results are damaged, the response is cut off and is not valid JSON.",
        query=(PageRequest,),
        parameters=(
            JOB_ID,
            header_parameter("If-None-Match", "The ETag of an earlier response.", {"type": "string"}),
        ),
        responses={
            "200": json_response("The results of the job.", JobResults, CACHED),
            "304": {"description": "The results have not changed.", "headers": CACHED},
        },
        problems=("job_not_found", "results_not_ready", "job_failed", "rate_limited", *DATABASE, *ALWAYS),
    )
)
def results(job_id: str) -> Response:
    """Returns the results of a completed job, streamed from the stored chunks."""
    extension = extension_of(current_app)
    services = extension.services
    job = _job(services, job_id)
    if job.status == "failed":
        raise ApiError("job_failed", f"The job failed: {job.error_message}")
    if job.status != "completed":
        raise ApiError(
            "results_not_ready",
            f"The job is {job.status}. Poll /video/status/{job.job_id} until it is completed.",
            {"Retry-After": POLL_SECONDS},
        )
    seconds = services.settings.backend_timeout_seconds
    return Results(request, job, caller().scope).response(
        request, services.results, extension.downloads, seconds
    )


def _job(services: Services, job_id: str) -> JobProgress:
    job = services.queries.progress(parsed_job_id(job_id), caller().scope)
    if job is None:
        raise job_not_found()
    return job


def parsed_job_id(text: str) -> uuid.UUID:
    """Returns the id in an address.

    Raises:
        ApiError: `job_not_found`, if it is malformed.
    """
    try:
        if len(text) == 36:
            return uuid.UUID(text)
    except ValueError:
        pass
    raise job_not_found()


def job_not_found() -> ApiError:
    """Returns the problem for an unknown job, which is the same for a job of another owner."""
    return ApiError(
        "job_not_found", "There is no job with this id. Check the job_id that /video/submit returned."
    )
