"""The three endpoints: submit a video, ask how it stands, fetch what was seen in it."""

from __future__ import annotations

import logging
import uuid
from typing import Any

from flask import Blueprint, Response, current_app, g, request, url_for

from videoqueue.api.admission import admit
from videoqueue.api.parameters import SubmitParameters
from videoqueue.api.problems import ApiError
from videoqueue.api.results import Results
from videoqueue.api.schemas import JobAccepted, JobStatus
from videoqueue.api.slots import transfers_of
from videoqueue.api.uploads import Received, Upload, discard
from videoqueue.broker import announce
from videoqueue.errors import DatabaseUnavailableError, QueueUnavailableError
from videoqueue.failpoints import failpoint
from videoqueue.jobs.deadline import set_deadline
from videoqueue.jobs.queries import JobQueries
from videoqueue.jobs.types import TERMINAL, JobProgress, NewJob
from videoqueue.services import Services, services_of

blueprint = Blueprint("video", __name__, url_prefix="/video")
logger = logging.getLogger(__name__)

#: Seconds a client should wait before it asks again for a job that is under way.
_POLL_SECONDS = "1"

_accepted = JobAccepted()
_status = JobStatus()


@blueprint.post("/submit")
def submit() -> tuple[dict[str, Any], int, dict[str, str]]:
    """Stores the video, then commits the job, then announces it; the commit is what accepts it."""
    services = services_of(current_app)
    key = _idempotency_key()
    upload = Upload(request, services.settings)
    parameters = SubmitParameters(services.pipelines, services.settings.default_pipeline)
    for name, text in request.args.items(multi=True):
        parameters.add(name, text, "query")
    with transfers_of(current_app).uploads.taken():
        admit(current_app, services, key)
        received = upload.store(services.storage, parameters)
        failpoint("web.object_stored")
    # The database was asked before the body came: its time begins anew.
    set_deadline(services.settings.backend_timeout_seconds)
    job_id = _create(services, received, parameters.values, key)
    return _accepted.dump({"job_id": job_id}), 202, {"Location": url_for("video.status", job_id=str(job_id))}


def _create(services: Services, received: Received, parameters: dict[str, Any], key: str | None) -> uuid.UUID:
    new = NewJob(
        **parameters,
        input_key=received.key,
        input_bytes=received.size,
        input_sha256=received.sha256,
        idempotency_key=key,
    )
    try:
        job_id, is_new = services.store.create(new)
    except Exception as error:
        # A job whose commit may have counted needs its video; else a worker removes it later.
        if not (isinstance(error, DatabaseUnavailableError) and error.may_have_committed):
            discard(services.storage, received)
        raise
    if not is_new:
        failpoint("web.duplicate_found")
        discard(services.storage, received)
        return job_id
    failpoint("web.row_committed")
    logger.info("Job accepted. job_id=%s bytes=%d pipeline_id=%s", job_id, new.input_bytes, new.pipeline_id)
    try:
        announce(services.broker, job_id)
        failpoint("web.announced")
    except QueueUnavailableError as error:
        logger.warning("Job not announced; a worker will find it. job_id=%s reason=%s", job_id, error)
    return job_id


@blueprint.get("/status/<job_id>")
def status(job_id: str) -> tuple[dict[str, Any], int, dict[str, str]]:
    """How the job stands: one row read by its key."""
    job = _job(services_of(current_app), job_id)
    headers = {"Cache-Control": "no-store"}
    if job.status not in TERMINAL:
        headers["Retry-After"] = _POLL_SECONDS
    return _status.dump(job), 200, headers


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
    slots = transfers_of(current_app).downloads
    seconds = services.settings.backend_timeout_seconds
    return Results(request, job).response(request, services.results, slots, seconds)


@blueprint.after_request
def _close_behind_an_unread_body(response: Response) -> Response:
    """A client that is refused in the middle of its upload must not send its next request behind it."""
    if request.method == "POST" and "body_was_read" not in g:
        response.headers["Connection"] = "close"
    return response


def _job(services: Services, job_id: str) -> JobProgress:
    try:
        queries = JobQueries(services.store.engine)
        job = queries.progress(uuid.UUID(job_id)) if len(job_id) == 36 else None
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
