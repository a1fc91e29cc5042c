"""/openapi.json for programs and /docs for people, both from the one document."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import Any

from flask import Blueprint, Response, current_app, render_template
from flask.blueprints import BlueprintSetupState

from videoqueue.api.openapi import document
from videoqueue.services import services_of

blueprint = Blueprint("docs", __name__, template_folder="templates")

_TEMPLATE = "docs.html"
_STYLE = files("videoqueue.api").joinpath("templates/docs.css").read_text()


@blueprint.get("/openapi.json")
def openapi() -> Response:
    return Response(current_app.json.dumps(_document()) + "\n", mimetype="application/json")


@blueprint.get("/docs")
def docs() -> Response:
    """One page that loads nothing, whose policy lets nothing but its own style be used."""
    described = _document()
    page = render_template(_TEMPLATE, api=described, operations=_operations(described), style=_STYLE)
    response = Response(page, mimetype="text/html")
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return response


def _document() -> dict[str, Any]:
    services = services_of(current_app)
    return document(tuple(sorted(services.pipelines)), services.settings.default_pipeline)


@blueprint.record
def _load(state: BlueprintSetupState) -> None:
    """Reads the template at the start: a request must not need a file that cannot be opened."""
    state.app.jinja_env.get_template(_TEMPLATE)


def _operations(described: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]
