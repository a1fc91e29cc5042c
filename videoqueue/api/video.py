"""The three endpoints for jobs: submit a video, get its status, get its results."""

from __future__ import annotations

import uuid
from typing import Final

from flask import Blueprint, Response, after_this_request, current_app, request

from videoqueue.api.acceptance import ACCEPTED_HEADERS, JsonResponse, accepted, announce_accepted
from videoqueue.api.auth import caller, caller_now
from videoqueue.api.extension import extension_of, services_of
from videoqueue.api.lookup import JOB_ID, POLL_SECONDS, completed_job, found_job
from videoqueue.api.operations import (
    ALWAYS,
    CACHED,
    DATABASE,
    IF_NONE_MATCH,
    NOT_MODIFIED,
    RESULTS,
    RETRY_AFTER,
    Described,
    Operation,
    header_parameter,
    json_response,
    operation,
)
from videoqueue.api.parameters import (
    MAX_KEY,
    SubmitParameters,
    SubmitValues,
    idempotency_key,
    query_parameters,
)
from videoqueue.api.results import Results
from videoqueue.api.schemas import JobAccepted, JobResults, JobStatus, PageRequest, SubmitRequest
from videoqueue.api.uploads import Received, Upload, discard
from videoqueue.errors import DatabaseUnavailableError
from videoqueue.failpoints import failpoint
from videoqueue.jobs.deadline import set_deadline
from videoqueue.jobs.types import TERMINAL, NewJob
from videoqueue.services import Services

blueprint = Blueprint("video", __name__, url_prefix="/video")

_VIDEO: Final[Described] = {"type": "string", "format": "binary", "contentMediaType": "video/mp4"}


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
    for name, text in query_parameters(request):
        parameters.add(name, text, "query")
    with extension.uploads.slot():
        extension.admission.require(caller().owner, key, upload.least_bytes)
        received = upload.store(services.storage, services.reserve, parameters)
        failpoint("web.object_stored")
    # Receiving the video has used up the time that the request had for the database.
    set_deadline(services.settings.backend_timeout_seconds)
    return accepted(_create(services, received, parameters.values, key))


def _create(services: Services, received: Received, values: SubmitValues, key: str | None) -> uuid.UUID:
    try:
        by = caller_now("submit")
        new = NewJob(
            owner=by.owner,
            key_id=by.key_id,
            **values,
            input_key=received.key,
            input_bytes=received.size,
            input_sha256=received.sha256,
            idempotency_key=key,
        )
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
    job = found_job(services_of(current_app), job_id)
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
        parameters=(JOB_ID, IF_NONE_MATCH),
        responses={
            "200": json_response("The results of the job.", JobResults, CACHED),
            "304": NOT_MODIFIED,
        },
        problems=RESULTS,
    )
)
def results(job_id: str) -> Response:
    """Returns the results of a completed job, streamed from the stored chunks."""
    extension = extension_of(current_app)
    services = extension.services
    job = completed_job(services, job_id)
    seconds = services.settings.backend_timeout_seconds
    return Results(request, job, caller().scope).response(
        request, services.results, extension.downloads, seconds
    )
