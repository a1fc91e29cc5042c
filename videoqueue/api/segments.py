"""The endpoint for the segments of a job."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final, cast

from flask import Blueprint, Response, current_app, request
from marshmallow import RAISE, Schema, fields

from videoqueue.api.auth import caller
from videoqueue.api.extension import extension_of
from videoqueue.api.lookup import JOB_ID, completed_job, job_not_found
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
from videoqueue.api.schemas import DecimalNumber
from videoqueue.api.streaming import Derived
from videoqueue.jobs.deadline import set_deadline
from videoqueue.jobs.types import Job
from videoqueue.segments.build import VERSION
from videoqueue.segments.ranges import at_least

blueprint = Blueprint("segments", __name__)

#: Ranges that are encoded at once.
_BATCH: Final = 1000


class SegmentsRequest(Schema):
    """The parameters of a request for segments."""

    class Meta:
        unknown = RAISE

    min_confidence = DecimalNumber(
        "List only ranges whose confidence is at least this. Default: all.", largest=1
    )


class _Range(Schema):
    start = fields.Float(required=True, metadata={"description": "Seconds."})
    end = fields.Float(required=True, metadata={"description": "Seconds."})
    confidence = fields.Float(required=True)


class LabelSegment(_Range):
    """A range of time in which objects with a label are seen."""

    label = fields.String(required=True)
    peak_count = fields.Integer(
        required=True,
        strict=True,
        metadata={"description": "The largest number of such objects at the same time."},
    )


class TextSegment(_Range):
    """A range of time in which a text is seen."""

    text = fields.String(required=True)
    box = fields.List(
        fields.Float(), required=True, metadata={"description": "x1, y1, x2, y2 of the surest reading."}
    )


class JobSegments(Schema):
    """The response of /jobs/{job_id}/segments."""

    job_id = fields.UUID(required=True)
    labels = fields.List(fields.Nested(LabelSegment), required=True)
    texts = fields.List(fields.Nested(TextSegment), required=True)
    truncated = fields.Boolean(
        required=True,
        metadata={"description": "Whether there are more ranges than the service makes of one job."},
    )


@blueprint.get("/jobs/<job_id>/segments")
@operation(
    Operation(
        scope="read",
        summary="Get the segments of a job",
        description="The ranges of time in which each label and each text is seen, sorted by start. They are "
        "made from the results when they are first asked for, and kept.",
        query=(SegmentsRequest,),
        parameters=(JOB_ID, IF_NONE_MATCH),
        responses={
            "200": json_response("The segments of the job.", JobSegments, CACHED),
            "304": NOT_MODIFIED,
        },
        problems=RESULTS,
    )
)
def segments(job_id: str) -> Response:
    """Returns the segments of a completed job."""
    extension = extension_of(current_app)
    confidence = cast("float | None", query_of(request, SegmentsRequest).get("min_confidence"))
    job = found_results(job_id)
    seconds = extension.services.settings.backend_timeout_seconds
    owner = caller().scope

    def body() -> Iterator[bytes]:
        # Made here, so that an error is a problem and not a body that is broken off.
        made = extension.services.segments.of(job, owner, lambda: set_deadline(seconds))
        shown = made if confidence is None else at_least(made, confidence)
        return _encoded(job, shown["labels"], shown["texts"], shown["truncated"])

    part = "" if confidence is None else f".{confidence!r}"
    etag = f"{job.results_etag}.segments.{VERSION}{part}"
    return Derived(etag, body).response(request, extension.downloads, seconds)


def found_results(job_id: str) -> Job:
    """Returns a job that has results.

    Raises:
        ApiError: as `completed_job`.
        DatabaseUnavailableError: the database cannot be used.
    """
    services = extension_of(current_app).services
    done = completed_job(services, job_id)
    job = services.store.get(done.job_id, caller().scope)
    if job is None:  # it was deleted in the meantime
        raise job_not_found()
    return job


def _encoded(job: Job, labels: Sequence[object], texts: Sequence[object], truncated: bool) -> Iterator[bytes]:
    yield f'{{"job_id":"{job.job_id}","labels":['.encode()
    yield from _joined(labels)
    yield b'],"texts":['
    yield from _joined(texts)
    yield f'],"truncated":{json.dumps(truncated)}}}\n'.encode()


def _joined(ranges: Sequence[object]) -> Iterator[bytes]:
    for start in range(0, len(ranges), _BATCH):
        text = json.dumps(ranges[start : start + _BATCH], ensure_ascii=False, separators=(",", ":"))
        yield (("," if start else "") + text[1:-1]).encode()
