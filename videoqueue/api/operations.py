"""What each address takes and answers: the table the OpenAPI document is made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from marshmallow import Schema

from videoqueue.api.schemas import PageRequest, SubmitRequest

Described = Mapping[str, Any]

#: Headers that occur more than once, by the name under which the document refers to them.
HEADERS: Final[Mapping[str, Described]] = {
    "RequestId": {
        "description": "Names this request in the log; its own X-Request-Id when that is a sane one.",
        "required": True,
        "schema": {"type": "string", "minLength": 1, "maxLength": 200},
    },
    "CacheControl": {"required": True, "schema": {"type": "string"}},
    "ETag": {
        "description": "Strong; differs for gzip and for each page.",
        "required": True,
        "schema": {"type": "string"},
    },
    "Vary": {"required": True, "schema": {"const": "Accept-Encoding"}},
}
RETRY_AFTER: Final[Described] = {
    "description": "Seconds after which to ask again.",
    "schema": {"type": "integer", "minimum": 1},
}


def header(name: str) -> Described:
    return {"$ref": f"#/components/headers/{name}"}


#: On every answer.
COMMON: Final[Described] = {"X-Request-Id": header("RequestId"), "Cache-Control": header("CacheControl")}
_CACHED: Final[Described] = {**COMMON, "ETag": header("ETag"), "Vary": header("Vary")}

_JOB_ID: Final[Described] = {
    "name": "job_id",
    "in": "path",
    "required": True,
    "description": "What /video/submit answered.",
    "schema": {"type": "string", "format": "uuid"},
}
_VIDEO: Final[Described] = {"type": "string", "format": "binary", "contentMediaType": "video/mp4"}

#: What any request may meet.
_ALWAYS: Final = ("invalid_parameter", "internal_error")
_DATABASE: Final = ("database_unavailable",)


@dataclass(frozen=True, kw_only=True)
class Operation:
    method: str
    path: str
    name: str
    summary: str
    description: str
    answers: Mapping[str, Described]
    #: Codes of the table of problems.
    problems: Sequence[str]
    parameters: Sequence[Described] = ()
    query: Sequence[type[Schema]] = ()
    #: Given the schemas of the parameters.
    body: Callable[[Described], Described] | None = None


def _video_body(fields: Described) -> Described:
    form = {"type": "object", "required": ["file"], "properties": {"file": _VIDEO, **fields}}
    return {
        "required": True,
        "description": "The video, as the field `file` of a form or as it is; at most "
        "VIDEOQUEUE_MAX_UPLOAD_BYTES. A form may have the parameters too; they outdo those of the query.",
        "content": {
            "multipart/form-data": {
                "schema": form | {"additionalProperties": False},
                "encoding": {"file": {"contentType": "video/mp4"}},
            },
            "video/mp4": {"schema": _VIDEO},
        },
    }


def _answer(description: str, schema: str, headers: Described = MappingProxyType({})) -> Described:
    return {
        "description": description,
        "headers": {**COMMON, **headers},
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
    }


def _text(description: str, kind: str, schema: Described) -> Described:
    return {"description": description, "headers": {**COMMON}, "content": {kind: {"schema": schema}}}


OPERATIONS: Final[Sequence[Operation]] = (
    Operation(
        method="post",
        path="/video/submit",
        name="submit",
        summary="Submit a video",
        description="Stores the video and answers at once; the work happens in the background. From this "
        "answer on the job is kept, whatever happens to any process.",
        query=(SubmitRequest,),
        parameters=(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "Makes a repeated submission safe: the same key with the same video and "
                "parameters answers the first job_id.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            },
        ),
        body=_video_body,
        answers={
            "202": _answer(
                "The job is accepted.",
                "JobAccepted",
                {
                    "Location": {
                        "description": "Where to ask how it stands.",
                        "required": True,
                        "schema": {"type": "string", "format": "uri-reference"},
                    }
                },
            )
        },
        problems=(
            "file_missing",
            "file_empty",
            "not_mp4",
            "truncated_mp4",
            "no_video_track",
            "unsupported_video",
            "upload_incomplete",
            "unknown_pipeline",
            "upload_timeout",
            "upload_too_large",
            "unsupported_media_type",
            "idempotency_key_reused",
            "too_many_pending_jobs",
            "rate_limited",
            *_DATABASE,
            "storage_unavailable",
            "storage_full",
            *_ALWAYS,
        ),
    ),
    Operation(
        method="get",
        path="/video/status/{job_id}",
        name="status",
        summary="Ask how a job stands",
        description="Ask again after `Retry-After` seconds while the job is pending or running.",
        parameters=(_JOB_ID,),
        answers={"200": _answer("How the job stands.", "JobStatus", {"Retry-After": RETRY_AFTER})},
        problems=("job_not_found", *_DATABASE, *_ALWAYS),
    ),
    Operation(
        method="get",
        path="/video/results/{job_id}",
        name="results",
        summary="Fetch a job's results",
        description="All frames, sorted by `frame_index`, streamed; with `page_size` or `page_token` a page "
        "of them (1000 frames unless told) and the token of the next. If stored results were damaged, the "
        "connection breaks off instead of ending validly.",
        query=(PageRequest,),
        parameters=(
            _JOB_ID,
            {
                "name": "If-None-Match",
                "in": "header",
                "required": False,
                "description": "The ETag of an earlier answer.",
                "schema": {"type": "string"},
            },
        ),
        answers={
            "200": _answer("What was seen.", "JobResults", _CACHED),
            "304": {"description": "Nothing has changed.", "headers": _CACHED},
        },
        problems=(
            "job_not_found",
            "results_not_ready",
            "job_failed",
            "rate_limited",
            *_DATABASE,
            *_ALWAYS,
        ),
    ),
    Operation(
        method="get",
        path="/healthz",
        name="healthz",
        summary="Whether this process lives",
        description="It asks nothing of database, queue or storage.",
        answers={"200": _answer("It does.", "Health")},
        problems=_ALWAYS,
    ),
    Operation(
        method="get",
        path="/readyz",
        name="readyz",
        summary="Whether jobs can be accepted",
        description="Asks database, storage and queue. `degraded` lists what jobs may have to wait for.",
        answers={"200": _answer("They can.", "Readiness")},
        problems=(*_DATABASE, "storage_unavailable", *_ALWAYS),
    ),
    Operation(
        method="get",
        path="/openapi.json",
        name="openapi",
        summary="This document",
        description="OpenAPI 3.1.",
        answers={"200": _text("The document.", "application/json", {"type": "object"})},
        problems=_ALWAYS,
    ),
    Operation(
        method="get",
        path="/docs",
        name="docs",
        summary="This document for people",
        description="One page without scripts.",
        answers={"200": _text("The page.", "text/html", {"type": "string"})},
        problems=_ALWAYS,
    ),
)
