"""The endpoint for the results of a span of time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final, cast

from flask import Blueprint, Response, current_app, request
from marshmallow import Schema, fields

from videoqueue.api.auth import caller
from videoqueue.api.extension import extension_of
from videoqueue.api.lookup import JOB_ID, completed_job
from videoqueue.api.operations import (
    CACHED,
    IF_NONE_MATCH,
    NOT_MODIFIED,
    RESULTS,
    Operation,
    json_response,
    operation,
)
from videoqueue.api.parameters import query_of
from videoqueue.api.schemas import MAX_PAGE_SIZE, DecimalNumber, FrameResult, WholeNumber
from videoqueue.api.streaming import Derived
from videoqueue.jobs.results import ResultReader
from videoqueue.jobs.results_by_time import Span, items_by_time
from videoqueue.jobs.types import JobProgress, OwnerScope

blueprint = Blueprint("results_by_time", __name__)

#: The parameters of a request; `from` is a keyword of Python.
TimeRequest: Final = Schema.from_dict(
    {
        "from": DecimalNumber("The first second. Default: the beginning."),
        "to": DecimalNumber("The second before which the results end. Default: the end."),
        "limit": WholeNumber(
            "The maximum number of frames in the response. Default: 1000.",
            default=None,
            largest=MAX_PAGE_SIZE,
        ),
    },
    name="TimeRequest",
)


class ResultsByTime(Schema):
    """The response of /jobs/{job_id}/results."""

    job_id = fields.UUID(required=True)
    results = fields.List(fields.Nested(FrameResult), required=True)
    next_from = fields.Float(
        required=True,
        allow_none=True,
        metadata={"description": "The `from` of the next request; null if there are no more results."},
    )


@blueprint.get("/jobs/<job_id>/results")
@operation(
    Operation(
        scope="read",
        summary="Get the results of a span of time",
        description="The same items as /video/results, whose `timestamp` is at least `from` and less than "
        "`to`.",
        query=(TimeRequest,),
        parameters=(JOB_ID, IF_NONE_MATCH),
        responses={
            "200": json_response("The results.", ResultsByTime, CACHED),
            "304": NOT_MODIFIED,
        },
        problems=RESULTS,
    )
)
def results_by_time(job_id: str) -> Response:
    """Returns the results of a completed job in a span of time, streamed from the stored chunks."""
    extension = extension_of(current_app)
    services = extension.services
    given = query_of(request, TimeRequest)
    span = Span(
        cast("float | None", given.get("from")),
        cast("float | None", given.get("to")),
        cast(int, given.get("limit", MAX_PAGE_SIZE)),
    )
    job, owner = completed_job(services, job_id), caller().scope

    def body() -> Iterator[bytes]:
        # After the first byte of the body no error response can be sent.
        services.results.require_readable(job.job_id, owner)
        return _body(services.results, job, owner, span)

    etag = f"{job.results_etag}.{span.start!r}.{span.end!r}.{span.limit}"
    return Derived(etag, body).response(
        request, extension.downloads, services.settings.backend_timeout_seconds
    )


def _body(reader: ResultReader, job: JobProgress, owner: OwnerScope, span: Span) -> Iterator[bytes]:
    yield f'{{"job_id":"{job.job_id}","results":['.encode()
    pieces = items_by_time(reader, job.job_id, owner, job.results_etag or "", span)
    separator = b""
    while True:
        try:
            piece = next(pieces)
        except StopIteration as end:
            following = end.value
            break
        yield separator + piece
        separator = b","
    yield f'],"next_from":{json.dumps(following)}}}\n'.encode()
