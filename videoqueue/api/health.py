"""The endpoints for supervisors and load balancers."""

from __future__ import annotations

from flask import Blueprint, current_app
from flask.typing import ResponseReturnValue

from videoqueue.api.extension import extension_of
from videoqueue.api.openapi import ALWAYS, DATABASE, Operation, json_response, operation
from videoqueue.api.problems import ProblemCode, problem
from videoqueue.api.schemas import Health, Readiness

blueprint = Blueprint("health", __name__)

_NO_STORE = {"Cache-Control": "no-store"}


@blueprint.get("/healthz")
@operation(
    Operation(
        summary="Check the web process",
        description="Checks only that this process responds, not database, queue or storage.",
        responses={"200": json_response("The process responds.", Health)},
        problems=ALWAYS,
    )
)
def healthz() -> ResponseReturnValue:
    """Returns 200 whenever this process can respond. Checks no backend."""
    return {"status": "ok"}, 200, _NO_STORE


@blueprint.get("/readyz")
@operation(
    Operation(
        summary="Check whether jobs can be accepted",
        description="Checks database, storage and queue. `degraded` lists reasons why jobs may have to wait.",
        responses={"200": json_response("Jobs can be accepted.", Readiness)},
        problems=(*DATABASE, "storage_unavailable", *ALWAYS),
    )
)
def readyz() -> ResponseReturnValue:
    """Returns 503 without database or storage; 200 with `degraded` if accepted jobs may have to wait."""
    check = extension_of(current_app).readiness
    found = check.run()
    if found.unavailable or found.counts is None:
        code: ProblemCode = (
            "database_unavailable" if "database" in found.unavailable else "storage_unavailable"
        )
        return problem(code, _unavailable(found.unavailable, check.seconds))
    body = {
        "status": "ready",
        "degraded": found.degraded,
        "workers": found.counts.workers,
        "pending": found.counts.pending,
        "oldest_pending_seconds": found.counts.oldest_pending_seconds,
    }
    return body, 200, _NO_STORE


def _unavailable(backends: list[str], seconds: float) -> str:
    return (
        f"The {' and the '.join(backends)} did not respond within {seconds:g} seconds "
        "(VIDEOQUEUE_READY_SECONDS), or cannot be used. Look at the log of the service, and at the backend."
    )
