"""The three endpoints: submit a video, ask how it stands, fetch what was seen in it."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from flask import Blueprint, Response, current_app, request, url_for

from videoqueue.api.problems import ApiError
from videoqueue.api.schemas import JobAccepted, JobStatus, load_parameters, rfc3339
from videoqueue.api.uploads import Received, Upload
from videoqueue.broker import announce
from videoqueue.errors import IdempotencyKeyReusedError, QueueUnavailableError, UnknownPipelineError
from videoqueue.jobs.store import NewJob
from videoqueue.services import Services, services_of

blueprint = Blueprint("video", __name__, url_prefix="/video")
logger = logging.getLogger(__name__)

#: Seconds a client should wait before it asks again for a job that is under way.
_POLL_SECONDS = "1"


@blueprint.post("/submit")
def submit() -> tuple[dict[str, Any], int, dict[str, str]]:
    """Stores the video, then commits the job, then announces it; the commit is what accepts it."""
    services = services_of(current_app)
    key = _idempotency_key()
    upload = Upload(request, services.settings)
    parameters = load_parameters(upload.parameters)
    pipeline_id = parameters.setdefault("pipeline_id", services.settings.default_pipeline)
    if pipeline_id not in services.pipelines:
        known = ", ".join(sorted(services.pipelines))
        raise UnknownPipelineError(f"There is no pipeline {pipeline_id!r}. Known: {known}.")
    received = upload.store(services.storage)
    job_id = _create(services, received, parameters, key)
    accepted = JobAccepted().dump({"job_id": job_id})
    return accepted, 202, {"Location": url_for("video.status", job_id=str(job_id))}


def _create(services: Services, received: Received, parameters: dict[str, Any], key: str | None) -> uuid.UUID:
    new = NewJob(
        **parameters,
        input_key=received.key,
        input_bytes=received.size,
        input_sha256=received.sha256,
        idempotency_key=key,
    )
    # A database error leaves the object: whether the commit counted is unknown, and a job needs its video.
    try:
        job_id, is_new = services.store.create(new)
    except IdempotencyKeyReusedError:
        services.storage.delete(received.key)
        raise
    if not is_new:
        services.storage.delete(received.key)
        return job_id
    logger.info("Job accepted. job_id=%s bytes=%d pipeline_id=%s", job_id, new.input_bytes, new.pipeline_id)
    try:
        announce(services.broker, job_id)
    except QueueUnavailableError:
        logger.warning("Job not announced, the queue is down; a worker will find it. job_id=%s", job_id)
    return job_id


@blueprint.get("/status/<job_id>")
def status(job_id: str) -> tuple[dict[str, Any], int, dict[str, str]]:
    """How the job stands: one row read by its key."""
    job = _job(services_of(current_app), job_id)
    headers = {"Cache-Control": "no-store"}
    if job.status in ("pending", "running"):
        headers["Retry-After"] = _POLL_SECONDS
    return JobStatus().dump(job), 200, headers


@blueprint.get("/results/<job_id>")
def results(job_id: str) -> Response:
    """What was seen, frame by frame; streamed from the stored chunks."""
    services = services_of(current_app)
    job = _job(services, job_id)
    if job.status == "failed":
        raise ApiError("job_failed", f"The job failed: {job.error_message}")
    if job.status != "completed":
        raise ApiError(
            "results_not_ready",
            f"The job is {job.status}. Ask /video/status/{job.job_id} until it is completed.",
            {"Retry-After": _POLL_SECONDS},
        )
    # Response.make_conditional would first read the whole body to learn its length.
    unchanged = request.if_none_match.contains(job.results_etag)
    body = () if unchanged else _body(services, job)
    response = Response(body, 304 if unchanged else 200, mimetype="application/json")
    response.set_etag(job.results_etag)
    return response


def _body(services: Services, job: sa.Row[Any]) -> Iterator[bytes]:
    yield f'{{"job_id":"{job.job_id}","results":'.encode()
    yield from services.results.array(job.job_id, job.results_etag)
    yield f',"created_at":"{rfc3339(job.created_at)}","updated_at":"{rfc3339(job.updated_at)}"}}\n'.encode()


def _job(services: Services, job_id: str) -> sa.Row[Any]:
    try:
        job = services.store.get(uuid.UUID(job_id)) if len(job_id) == 36 else None
    except ValueError:
        job = None
    if job is None:
        raise ApiError(
            "job_not_found", "There is no job with this id. Check the job_id that /video/submit gave."
        )
    return job


def _idempotency_key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not 1 <= len(key) <= 255:
        raise ApiError("invalid_parameter", "The header Idempotency-Key takes 1 to 255 characters.")
    return key
