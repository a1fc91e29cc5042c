"""For supervisors and load balancers, outside the `video` blueprint."""

from __future__ import annotations

from flask import Blueprint
from flask.typing import ResponseReturnValue

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> ResponseReturnValue:
    """200 as long as this process answers at all; it asks nothing of database, queue or storage."""
    return {"status": "ok"}, 200, {"Cache-Control": "no-store"}
