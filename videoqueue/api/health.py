"""The endpoints for supervisors and load balancers."""

from __future__ import annotations

from flask import Blueprint, current_app
from flask.typing import ResponseReturnValue

from videoqueue.api.auth import visitor
from videoqueue.api.extension import extension_of
from videoqueue.api.operations import ALWAYS, DATABASE, Operation, json_response, operation
from videoqueue.api.problems import ProblemCode, problem
from videoqueue.api.schemas import Health, Readiness

blueprint = Blueprint("health", __name__)

_NO_STORE = {"Cache-Control": "no-store"}


@blueprint.get("/healthz")
@operation(
    Operation(
        scope=None,
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
        scope=None,
        summary="Check whether jobs can be accepted",
        description="Checks database, storage and queue. `degraded` lists reasons why jobs may have to wait. "
        "Once keys are needed, it and the counts are only for keys with the scope `metrics`; others see only "
        "whether the service is ready.",
        responses={"200": json_response("Jobs can be accepted.", Readiness)},
        problems=("not_ready", *DATABASE, "storage_unavailable", *ALWAYS),
    )
)
def readyz() -> ResponseReturnValue:
    """Returns 503 without database or storage; 200 with `degraded` if accepted jobs may have to wait."""
    check = extension_of(current_app).readiness
    found = check.run()
    caller = visitor(has_database="database" not in found.unavailable)
    may_see = caller is not None and "metrics" in caller.scopes
    if found.unavailable or found.counts is None:
        if not may_see:
            return problem("not_ready", "The service cannot accept jobs now. Try again shortly.")
        code: ProblemCode = (
            "database_unavailable" if "database" in found.unavailable else "storage_unavailable"
        )
        return problem(code, _unavailable(found.unavailable, check.seconds))
    if not may_see:
        return {"status": "ready"}, 200, _NO_STORE
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
