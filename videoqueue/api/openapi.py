"""The OpenAPI 3.1 document, made from the schemas and the table of problems."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import fields

from videoqueue.api.operations import COMMON, HEADERS, OPERATIONS, RETRY_AFTER, Described, Operation
from videoqueue.api.problems import PROBLEMS, TRY_AGAIN
from videoqueue.api.schemas import (
    Health,
    JobAccepted,
    JobResults,
    JobStatus,
    Problem,
    Readiness,
    Timestamp,
)

_PROBLEM: Final = "application/problem+json"

_ABOUT: Final = """Submit an MP4, get a `job_id` at once, ask how the job stands, fetch what was seen and read
in each frame. Every error is `application/problem+json` (RFC 9457) with a stable `code`.

What is not an MP4 with a video in it is refused when it is submitted, whatever its media type says: 400 with
one of the codes `file_empty`, `not_mp4`, `truncated_mp4`, `no_video_track`, `unsupported_video`. A schema
cannot express this: bodies made at random are answered so."""


@cache
def document(pipelines: tuple[str, ...], default_pipeline: str) -> dict[str, Any]:
    """The whole document, ready for `json.dumps`, of a service that has these pipelines."""
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
    converter.add_attribute_function(_precisely)  # type: ignore[no-untyped-call]
    for name, described in HEADERS.items():
        spec.components.header(name, dict(described))
    for schema in (JobAccepted, JobStatus, JobResults, Health, Readiness, Problem):
        spec.components.schema(schema.__name__, schema=schema)
    known = {"enum": list(pipelines), "default": default_pipeline}
    for operation in OPERATIONS:
        described = _described(operation, converter, {"pipeline_id": known})
        spec.path(operation.path, operations={operation.method: described})
    made: dict[str, Any] = spec.to_dict()
    return made


def _precisely(_converter: OpenAPIConverter, field: fields.Field[Any], **_: Any) -> dict[str, Any]:
    """What apispec cannot know of fields of our own."""
    if isinstance(field, Timestamp):
        return {"type": "string", "format": "date-time"}
    if isinstance(field, fields.Method):
        return {"type": ["string", "null"]}
    return {}


def _described(operation: Operation, converter: OpenAPIConverter, known: Described) -> dict[str, Any]:
    fields = {
        name: _parameter(field, converter) | known.get(name, {})
        for schema in operation.query
        for name, field in schema().fields.items()
    }
    query = [{"name": name, "in": "query", "required": False, "schema": fields[name]} for name in fields]
    for parameter in query:
        parameter["description"] = fields[parameter["name"]].get("description", "")
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": operation.description,
        "parameters": [*operation.parameters, *query],
        "responses": dict(operation.answers) | _problems(operation),
    }
    if operation.body:
        described["requestBody"] = operation.body(fields)
    return described


def _parameter(field: fields.Field[Any], converter: OpenAPIConverter) -> dict[str, Any]:
    schema = converter.field2property(field)
    # What a parameter that is left out counts as is none of its values.
    if schema.get("default", 0) is None:
        del schema["default"]
    if isinstance(schema.get("type"), list):
        schema["type"] = next(kind for kind in schema["type"] if kind != "null")
    return schema


def _problems(operation: Operation) -> dict[str, Any]:
    """One response for each status, with all its codes."""
    codes: dict[int, list[str]] = {}
    for code in operation.problems:
        codes.setdefault(PROBLEMS[code][0], []).append(code)
    return {str(status): _problem(status, names) for status, names in sorted(codes.items())}


def _problem(status: int, codes: list[str]) -> dict[str, Any]:
    headers = dict(COMMON)
    if status in TRY_AGAIN or "results_not_ready" in codes:
        headers["Retry-After"] = {**RETRY_AFTER, "required": status in TRY_AGAIN}
    if status == 405:
        headers["Allow"] = {"required": True, "schema": {"type": "string"}}
    schema = {
        "allOf": [
            {"$ref": "#/components/schemas/Problem"},
            {"properties": {"status": {"const": status}, "code": {"enum": codes}}},
        ]
    }
    return {
        "description": "; ".join(f"`{code}`: {PROBLEMS[code][1]}" for code in codes),
        "headers": headers,
        "content": {_PROBLEM: {"schema": schema}},
    }
