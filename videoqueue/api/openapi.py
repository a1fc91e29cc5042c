"""The OpenAPI 3.1 document. It collects what the views say about their operations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from flask import Flask
from marshmallow import Schema, fields

from videoqueue.api.job_schemas import JobDescription, JobList, PipelineList
from videoqueue.api.operations import COMMON, DATABASE, RETRY_AFTER, Described, Operation, operation_of
from videoqueue.api.problems import PROBLEMS, TRY_AGAIN, ProblemCode
from videoqueue.api.results_by_time import ResultsByTime
from videoqueue.api.schemas import (
    Health,
    JobAccepted,
    JobResults,
    JobStatus,
    Name,
    Problem,
    Readiness,
    Timestamp,
)
from videoqueue.api.segments import JobSegments

_ABOUT: Final = """Submit an MP4, get a `job_id`, poll the status of the job, fetch the results of each frame.
Every error is `application/problem+json` (RFC 9457) with a stable `code`.

OpenAPI cannot describe a valid MP4. A body of an accepted Content-Type that is no such file gets 400 with one
of the codes `file_empty`, `not_mp4`, `truncated_mp4`, `no_video_track`, `unsupported_video`. Any other
Content-Type gets 415."""

#: Headers that several responses have, by the name of their component.
_HEADERS: Final[Mapping[str, dict[str, Any]]] = {
    "RequestId": {
        "description": "The id of the request in the log. It is the X-Request-Id of the request if that is "
        "1 to 200 letters, digits and `._=+/-`, otherwise a new one.",
        "required": True,
        "schema": {"type": "string", "minLength": 1, "maxLength": 200},
    },
    "CacheControl": {"required": True, "schema": {"type": "string"}},
    "ETag": {
        "description": "A strong ETag. It differs for gzip and for each page.",
        "required": True,
        "schema": {"type": "string"},
    },
    "Vary": {"required": True, "schema": {"const": "Accept-Encoding"}},
}
#: The problems of every operation that needs a scope. The database has the keys.
_ACCESS: Final[Sequence[ProblemCode]] = ("unauthorized", "forbidden", "cross_site", "unknown_host", *DATABASE)
_KEY: Final = "key"
_KEY_SCHEME: Final[dict[str, Any]] = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "vq_ID_SECRET",
    "description": "The header `Authorization: Bearer KEY`. The operator creates keys with "
    "`videoqueue keys create --owner NAME`. A service that listens on loopback needs no key until "
    "the first one is created.",
}

#: The schemas of responses.
_SCHEMAS: Final[Sequence[type[Schema]]] = (
    JobAccepted,
    JobStatus,
    JobResults,
    JobList,
    JobDescription,
    JobSegments,
    ResultsByTime,
    PipelineList,
    Health,
    Readiness,
    Problem,
)


def document(app: Flask, pipelines: Sequence[str], default_pipeline: str) -> dict[str, Any]:
    """Returns the document for the routes of an application. A view without a description is left out,
    and one that is not documented.

    Args:
        app: the application; its blueprints are registered.
        pipelines: the ids that the parameter `pipeline_id` takes.
        default_pipeline: the id that it has by default.

    Returns:
        The document, ready for `json.dumps`.
    """
    plugin = MarshmallowPlugin()
    spec = APISpec(
        title="videoqueue",
        version="1",
        openapi_version="3.1.1",
        info={"description": _ABOUT, "license": {"name": "MIT", "identifier": "MIT"}},
        plugins=[plugin],
    )
    converter = plugin.converter
    assert isinstance(converter, OpenAPIConverter)
    converter.add_attribute_function(_own_fields)  # type: ignore[no-untyped-call]
    for name, described in _HEADERS.items():
        spec.components.header(name, described)
    spec.components.security_scheme(_KEY, _KEY_SCHEME)
    for schema in _SCHEMAS:
        spec.components.schema(schema.__name__, schema=schema)
    known = {"pipeline_id": {"enum": list(pipelines), "default": default_pipeline}}
    for path, method, name, found in _operations(app):
        spec.path(path, operations={method: {"operationId": name} | _described(found, converter, known)})
    made: dict[str, Any] = spec.to_dict()
    return made


def _operations(app: Flask) -> Iterator[tuple[str, str, str, Operation]]:
    """Yields the path, method, id and description of each route, in the order of registration."""
    for rule in app.url_map.iter_rules():
        found = operation_of(app.view_functions[rule.endpoint])
        if found is None or not found.is_documented:
            continue
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield path, method.lower(), rule.endpoint.rpartition(".")[2], found


def _own_fields(_converter: OpenAPIConverter, field: fields.Field[Any], **_: object) -> dict[str, Any]:
    """Returns what apispec cannot know about our own kinds of fields."""
    if isinstance(field, Timestamp):
        return {"type": ["string", "null"] if field.allow_none else "string", "format": "date-time"}
    if isinstance(field, Name):
        return {"type": "string"}
    if isinstance(field, fields.Method):
        return {"type": ["string", "null"]}
    return {}


def _described(found: Operation, converter: OpenAPIConverter, known: Described) -> dict[str, Any]:
    fields = {
        name: _parameter(field, converter) | known.get(name, {})
        for schema in found.query
        for name, field in schema().fields.items()
    }
    required = {name for schema in found.query for name, field in schema().fields.items() if field.required}
    query = [
        {"name": name, "in": "query", "required": name in required, "schema": fields[name]} for name in fields
    ]
    for parameter in query:
        parameter["description"] = fields[parameter["name"]].get("description", "")
    described: dict[str, Any] = {
        "summary": found.summary,
        "description": found.description,
        # The empty alternative: a service may need no key.
        "security": [{_KEY: []}, {}] if found.scope else [],
        "parameters": [*found.parameters, *query],
        "responses": dict(found.responses) | _problems(found),
    }
    if found.body:
        described["requestBody"] = found.body(fields)
    return described


def _parameter(field: fields.Field[Any], converter: OpenAPIConverter) -> dict[str, Any]:
    schema = converter.field2property(field)
    # None stands for a parameter that was not sent. A client cannot send it.
    if schema.get("default", 0) is None:
        del schema["default"]
    if isinstance(schema.get("type"), list):
        schema["type"] = next(kind for kind in schema["type"] if kind != "null")
    return schema


def _problems(found: Operation) -> dict[str, Any]:
    """Returns one response for each status, with all its codes."""
    codes: dict[int, list[ProblemCode]] = {}
    for code in dict.fromkeys((*found.problems, *(_ACCESS if found.scope else ()))):
        codes.setdefault(PROBLEMS[code][0], []).append(code)
    return {str(status): _problem(status, names) for status, names in sorted(codes.items())}


def _problem(status: int, codes: Sequence[ProblemCode]) -> dict[str, Any]:
    headers = dict(COMMON)
    if status == 401:
        headers["WWW-Authenticate"] = {"required": True, "schema": {"type": "string"}}
    if status in TRY_AGAIN or "results_not_ready" in codes:
        headers["Retry-After"] = {**RETRY_AFTER, "required": status in TRY_AGAIN}
    schema = {
        "allOf": [
            {"$ref": "#/components/schemas/Problem"},
            {"properties": {"status": {"const": status}, "code": {"enum": codes}}},
        ]
    }
    return {
        "description": "; ".join(f"`{code}`: {PROBLEMS[code][1]}" for code in codes),
        "headers": headers,
        "content": {"application/problem+json": {"schema": schema}},
    }
