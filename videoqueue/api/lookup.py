"""The job that an address names, as far as the caller may read it."""

from __future__ import annotations

import re
import uuid
from typing import Final

from videoqueue.api.auth import caller
from videoqueue.api.operations import Described
from videoqueue.api.problems import ApiError
from videoqueue.jobs.types import JobProgress
from videoqueue.services import Services

#: Seconds to wait before the next request for a job that has not ended.
POLL_SECONDS: Final = "1"

#: RFC 9562, section 4. `uuid.UUID` also accepts other forms.
_CANONICAL: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)

JOB_ID: Final[Described] = {
    "name": "job_id",
    "in": "path",
    "required": True,
    "description": "The id that /video/submit returned.",
    "schema": {"type": "string", "format": "uuid"},
}


def found_job(services: Services, job_id: str) -> JobProgress:
    """Returns the state of the job. Reads one row by its key.

    Raises:
        ApiError: `job_not_found`.
        DatabaseUnavailableError: the database cannot be used.
    """
    job = services.queries.progress(parsed_job_id(job_id), caller().scope)
    if job is None:
        raise job_not_found()
    return job


def completed_job(services: Services, job_id: str) -> JobProgress:
    """Returns the state of the job if it has results.

    Raises:
        ApiError: `job_not_found`, `job_failed` with its reason, or `results_not_ready`.
        DatabaseUnavailableError: the database cannot be used.
    """
    job = found_job(services, job_id)
    if job.status == "failed":
        raise ApiError("job_failed", f"The job failed: {job.error_message}")
    if job.status != "completed":
        raise ApiError(
            "results_not_ready",
            f"The job is {job.status}. Poll /video/status/{job.job_id} until it is completed.",
            {"Retry-After": POLL_SECONDS},
        )
    return job


def parsed_job_id(text: str) -> uuid.UUID:
    """Returns the id in an address.

    Raises:
        ApiError: `job_not_found`, if it is malformed.
    """
    if not _CANONICAL.fullmatch(text):
        raise job_not_found()
    return uuid.UUID(text)


def job_not_found() -> ApiError:
    """Returns the problem for an unknown job, which is the same for a job of another owner."""
    return ApiError(
        "job_not_found", "There is no job with this id. Check the job_id that /video/submit returned."
    )
