"""The OpenAPI document, for programs (/openapi.json) and for people (/docs)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Final, cast

from flask import Blueprint, Flask, Response, current_app, render_template
from flask.blueprints import BlueprintSetupState

from videoqueue.api.extension import services_of
from videoqueue.api.openapi import document
from videoqueue.api.operations import ALWAYS, COMMON, Described, Operation, operation

blueprint = Blueprint("docs", __name__, template_folder="templates")

_KEY: Final = "videoqueue.openapi"
_TEMPLATE: Final = "docs.html"
_STYLE: Final = files("videoqueue.api").joinpath("templates/docs.css").read_text()


def _response(description: str, kind: str, schema: Described) -> Mapping[str, Described]:
    return {"200": {"description": description, "headers": COMMON, "content": {kind: {"schema": schema}}}}


@blueprint.get("/openapi.json")
@operation(
    Operation(
        scope=None,
        summary="Get this document",
        description="The format is OpenAPI 3.1.",
        responses=_response("The document.", "application/json", {"type": "object"}),
        problems=ALWAYS,
    )
)
def openapi() -> Response:
    """Returns the document."""
    text = current_app.json.dumps(current_app.extensions[_KEY])
    return Response(f"{text}\n", mimetype="application/json")


@blueprint.get("/docs")
@operation(
    Operation(
        scope=None,
        summary="Get this document as a page",
        description="One page without scripts.",
        responses=_response("The page.", "text/html", {"type": "string"}),
        problems=ALWAYS,
    )
)
def docs() -> Response:
    """Returns the document as one page. Its policy allows no other resource than its own style."""
    api: dict[str, Any] = current_app.extensions[_KEY]
    page = render_template(_TEMPLATE, api=api, operations=_operations(api), style=_STYLE)
    response = Response(page, mimetype="text/html")
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return response


@blueprint.record
def _prepare(state: BlueprintSetupState) -> None:
    """Makes the document and reads the template: a request must not fail because a file cannot be opened.

    The blueprint has to be registered last, because the document has the routes that are registered by then.
    """
    app = cast(Flask, state.app)
    services = services_of(app)
    app.extensions[_KEY] = document(app, sorted(services.pipelines), services.settings.default_pipeline)
    app.jinja_env.get_template(_TEMPLATE)


def _operations(api: dict[str, Any]) -> Sequence[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, described)
        for path, methods in api["paths"].items()
        for method, described in methods.items()
    ]
