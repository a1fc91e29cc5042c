"""The response to an accepted job, and its announcement on the queue."""

from __future__ import annotations

import logging
import uuid
from typing import Final, TypeAlias

from flask import url_for

from videoqueue.api.operations import Described
from videoqueue.api.schemas import JobAccepted
from videoqueue.broker import announce
from videoqueue.errors import QueueUnavailableError
from videoqueue.failpoints import failpoint
from videoqueue.services import Services

logger = logging.getLogger(__name__)

JsonResponse: TypeAlias = tuple[dict[str, object], int, dict[str, str]]

#: The headers of a response that accepts a job.
ACCEPTED_HEADERS: Final[Described] = {
    "Location": {
        "description": "The address of the job's status.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference"},
    }
}


def accepted(job_id: uuid.UUID) -> JsonResponse:
    """Returns 202 with the job ID and the address of the job's status."""
    location = url_for("video.status", job_id=str(job_id))
    return JobAccepted().dump({"job_id": job_id}), 202, {"Location": location}


def announce_accepted(services: Services, job_id: uuid.UUID, size: int, pipeline_id: str) -> None:
    """Logs a committed job and announces it. Without a queue, a worker finds it later."""
    logger.info("Job accepted.", extra={"job_id": job_id, "bytes": size, "pipeline_id": pipeline_id})
    try:
        announce(services.broker, job_id)
        failpoint("web.announced")
    except QueueUnavailableError as error:
        logger.warning("Job not announced; a worker will find it.", extra={"job_id": job_id, "reason": error})
