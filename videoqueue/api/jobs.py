"""The endpoints to list, describe, delete and retry jobs, and the list of pipelines."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Final, cast

from flask import Blueprint, Response, after_this_request, current_app, request

from videoqueue.api.acceptance import ACCEPTED_HEADERS, JsonResponse, accepted, announce_accepted
from videoqueue.api.auth import caller
from videoqueue.api.extension import extension_of, services_of
from videoqueue.api.job_list import hidden, listed_owner, page_token, position
from videoqueue.api.job_schemas import (
    DEFAULT_JOBS,
    JobDescription,
    JobList,
    JobListRequest,
    PipelineList,
)
from videoqueue.api.lookup import JOB_ID, POLL_SECONDS, job_not_found, parsed_job_id
from videoqueue.api.operations import (
    ALWAYS,
    COMMON,
    DATABASE,
    RETRY_AFTER,
    Operation,
    header_parameter,
    json_response,
    operation,
)
from videoqueue.api.parameters import MAX_KEY, idempotency_key, query_of, require_no_parameters
from videoqueue.api.problems import ApiError
from videoqueue.api.schemas import JobAccepted
from videoqueue.jobs.types import TERMINAL, Status
from videoqueue.jobs.waiting import JobDetail, detail
from videoqueue.maintenance.next_job import announce_next
from videoqueue.maintenance.removal import Remover

blueprint = Blueprint("jobs", __name__)
logger = logging.getLogger(__name__)

_NO_STORE: Final = {"Cache-Control": "no-store"}
_DAY: Final = 86_400_000_000


@blueprint.get("/jobs")
@operation(
    Operation(
        scope="read",
        summary="List jobs",
        description="The jobs of the caller, newest first, in pages.",
        query=(JobListRequest,),
        responses={"200": json_response("A page of the list.", JobList)},
        problems=(*DATABASE, *ALWAYS),
    )
)
def list_jobs() -> JsonResponse:
    """Returns one page of the caller's jobs."""
    given = query_of(request, JobListRequest)
    size = cast(int, given.get("page_size", DEFAULT_JOBS))
    jobs = services_of(current_app).queries.latest(
        listed_owner(caller(), cast("str | None", given.get("owner"))),
        size + 1,  # one more shows whether there is another page
        cast("Status | None", given.get("status")),
        position(cast("str | None", given.get("page_token"))),
    )
    page = {"jobs": jobs[:size], "next_page_token": page_token(jobs[size - 1]) if len(jobs) > size else None}
    return JobList(exclude=hidden("jobs.owner")).dump(page), 200, _NO_STORE


@blueprint.get("/jobs/<job_id>")
@operation(
    Operation(
        scope="read",
        summary="Describe a job",
        description="Everything about a job. Of a running job, only `progress` says how far it is.",
        parameters=(JOB_ID,),
        responses={"200": json_response("The job.", JobDescription, {"Retry-After": RETRY_AFTER})},
        problems=("job_not_found", *DATABASE, *ALWAYS),
    )
)
def describe(job_id: str) -> JsonResponse:
    """Returns everything about the job."""
    require_no_parameters(request)
    found = _detail(job_id)
    headers = _NO_STORE if found.job.status in TERMINAL else _NO_STORE | {"Retry-After": POLL_SECONDS}
    return JobDescription(exclude=hidden("owner")).dump(_described(found)), 200, headers


def _detail(job_id: str) -> JobDetail:
    services = services_of(current_app)
    wanted = parsed_job_id(job_id)
    found = detail(services.engine, wanted, caller().scope, services.store.limits)
    if found is None:
        raise job_not_found()
    return found


def _described(found: JobDetail) -> SimpleNamespace:
    job, days = found.job, services_of(current_app).settings.retention_days
    expires = None if job.finished_at is None or not days else job.finished_at + round(days * _DAY)
    return SimpleNamespace(**vars(job), video=job, waiting_for=found.waiting_for, expires_at=expires)


@blueprint.delete("/jobs/<job_id>")
@operation(
    Operation(
        scope="submit",
        summary="Delete a job",
        description="Deletes the job in any state, with its results and its video. A worker that processes "
        "it stops within VIDEOQUEUE_RENEW_SECONDS.",
        parameters=(JOB_ID,),
        responses={"204": {"description": "The job is deleted.", "headers": COMMON}},
        problems=("job_not_found", *DATABASE, *ALWAYS),
    )
)
def delete(job_id: str) -> Response:
    """Deletes the job. Returns 204 after the commit; the video may then be left to the next purge."""
    _leave_body()
    require_no_parameters(request)
    services, wanted = services_of(current_app), parsed_job_id(job_id)
    remover = Remover(services.engine, services.storage, services.store.limits)
    if (deleted := remover.delete(wanted, caller().scope)) is None:
        raise job_not_found()
    if deleted.next_of is not None:
        announce_next(services.store, services.broker, deleted.next_of)
    logger.info("Job deleted.", extra={"job_id": wanted})
    response = Response(status=204, headers=_NO_STORE)
    del response.headers["Content-Type"]
    return response


@blueprint.post("/jobs/<job_id>/retry")
@operation(
    Operation(
        scope="submit",
        summary="Retry a failed job",
        description="Makes a new job with the video and the parameters of a failed one, which stays as it "
        "is. The new job belongs to the owner of the failed one.",
        parameters=(
            JOB_ID,
            header_parameter(
                "Idempotency-Key",
                "Makes it safe to repeat a retry: the same key for the same failed job returns the job_id of "
                "the first retry. Retries and submissions share the keys of their owner.",
                {"type": "string", "minLength": 1, "maxLength": MAX_KEY},
            ),
        ),
        responses={"202": json_response("The new job is accepted.", JobAccepted, ACCEPTED_HEADERS)},
        problems=(
            "job_not_found",
            "not_retryable",
            "idempotency_key_reused",
            "quota_exceeded",
            "too_many_pending_jobs",
            "storage_unavailable",
            *DATABASE,
            *ALWAYS,
        ),
    )
)
def retry(job_id: str) -> JsonResponse:
    """Commits a new job from the failed one and announces it. Returns 202 with the new job's ID."""
    _leave_body()
    require_no_parameters(request)
    extension, by, key = extension_of(current_app), caller(), idempotency_key(request)
    services = extension.services
    job = _detail(job_id).job
    if job.status != "failed":
        raise ApiError("not_retryable", f"The job is {job.status}. Only a failed job can be retried.")
    extension.admission.require_backlog(job.owner, key)
    if not services.storage.exists(job.input_key):
        raise ApiError("not_retryable", "The video of this job is no longer stored. Submit it again.")
    made = services.store.retry_once(job.job_id, by.scope, by.key_id, key)
    if made is None:  # it was deleted in the meantime
        raise job_not_found()
    again, is_new = made
    if is_new:
        announce_accepted(services, again, job.input_bytes, job.pipeline_id)
    return accepted(again)


def _leave_body() -> None:
    """Closes the connection if the request has a body: nobody reads it."""

    @after_this_request
    def close(response: Response) -> Response:
        if request.content_length or "Transfer-Encoding" in request.headers:
            response.headers["Connection"] = "close"
        return response


@blueprint.get("/pipelines")
@operation(
    Operation(
        scope="read",
        summary="List pipelines",
        description="The pipelines that a job can have. `yolo` in a name stands for object detection by any "
        "YOLO-like model.",
        responses={"200": json_response("The pipelines, by name.", PipelineList)},
        problems=ALWAYS,
    )
)
def pipelines() -> JsonResponse:
    """Returns the pipelines that a job can have, sorted by name."""
    require_no_parameters(request)
    services = services_of(current_app)
    default = services.settings.default_pipeline
    known = [
        {"pipeline_id": name, "default": name == default, "description": definition.description}
        for name, definition in sorted(services.pipelines.items())
    ]
    return PipelineList().dump({"pipelines": known}), 200, {}
