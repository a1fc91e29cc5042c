"""The endpoint for the results of a job in the formats of other programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Final, cast

from flask import Blueprint, Response, current_app, request
from marshmallow import RAISE, Schema, fields, validate

from videoqueue.api.auth import caller
from videoqueue.api.extension import extension_of
from videoqueue.api.file_names import attachment
from videoqueue.api.lookup import JOB_ID
from videoqueue.api.operations import (
    CACHED,
    IF_NONE_MATCH,
    NOT_MODIFIED,
    RESULTS,
    Operation,
    operation,
)
from videoqueue.api.parameters import query_of
from videoqueue.api.problems import ApiError
from videoqueue.api.schemas import DecimalNumber
from videoqueue.api.segments import found_results
from videoqueue.api.streaming import Derived
from videoqueue.exports.confident import confident
from videoqueue.exports.formats import FORMATS, Format
from videoqueue.jobs.deadline import set_deadline
from videoqueue.jobs.segments import video_of
from videoqueue.jobs.types import Job
from videoqueue.pipeline.results import FrameItem
from videoqueue.segments.ranges import at_least
from videoqueue.services import Services

blueprint = Blueprint("export", __name__)

_NAMES: Final = ", ".join(FORMATS)
_CONTENT: Final[dict[str, Any]] = {
    found.media_type: {"schema": {"type": "object" if name == "coco" else "string"}}
    for name, found in FORMATS.items()
}
_DISPOSITION: Final = {"Content-Disposition": {"required": True, "schema": {"type": "string"}}}


class ExportRequest(Schema):
    """The parameters of a request for an export."""

    class Meta:
        unknown = RAISE

    format = fields.String(
        required=True,
        validate=validate.OneOf(list(FORMATS), error=f"takes one of {_NAMES}"),
        metadata={"description": "The format of the file."},
    )
    min_confidence = DecimalNumber(
        "Leave out what was recognized with a lower confidence. Default: nothing.", largest=1
    )


@blueprint.get("/jobs/<job_id>/export")
@operation(
    Operation(
        scope="read",
        summary="Export the results of a job",
        description="The results as a file: `csv` (a row for each object and line of text), `jsonl` (an item "
        "of the results on each line), `vtt` and `srt` (texts as subtitles), `coco` (detections).",
        query=(ExportRequest,),
        parameters=(JOB_ID, IF_NONE_MATCH),
        responses={
            "200": {
                "description": "The file.",
                "headers": {**CACHED, **_DISPOSITION},
                "content": _CONTENT,
            },
            "304": NOT_MODIFIED,
        },
        problems=("video_size_unknown", *RESULTS),
    )
)
def export(job_id: str) -> Response:
    """Returns the results of a completed job as a file, streamed from the stored chunks."""
    extension = extension_of(current_app)
    services = extension.services
    given = query_of(request, ExportRequest)
    name, least = cast("str | None", given.get("format")), cast("float | None", given.get("min_confidence"))
    if name is None:
        raise ApiError("invalid_parameter", f"The parameter format is missing. It takes one of {_NAMES}.")
    chosen = FORMATS[name]
    job = found_results(job_id)
    if chosen.needs_size and (job.width is None or job.height is None):
        raise ApiError(
            "video_size_unknown",
            f"The size of this video is not known, and the format {name} needs it: the job was made by an "
            "older release. Submit the video again, or choose another format.",
        )

    def body() -> Iterable[bytes]:
        # With the first piece, an error at the start is a problem and not a body that is broken off.
        pieces = _pieces(services, job, name, chosen, least)
        return chain([next(pieces, b"")], pieces)

    part = "" if least is None else f".{least!r}"
    derived = Derived(
        f"{job.results_etag}.{name}.{chosen.version}{part}",
        body,
        chosen.media_type,
        {"Content-Disposition": attachment(job.name, str(job.job_id), chosen.extension)},
    )
    return derived.response(request, extension.downloads, services.settings.backend_timeout_seconds)


def _pieces(services: Services, job: Job, name: str, chosen: Format, least: float | None) -> Iterator[bytes]:
    owner, etag = caller().scope, job.results_etag or ""
    seconds = services.settings.backend_timeout_seconds

    def before_read() -> None:
        set_deadline(seconds)

    def items() -> Iterator[FrameItem]:
        return services.results.items(job.job_id, owner, etag, before_read)

    if chosen.write_segments is not None:
        segments = services.segments.of(job, owner, before_read)
        return chosen.write_segments(segments if least is None else at_least(segments, least))
    if name == "jsonl" and least is None:
        return services.results.lines(job.job_id, owner, etag)
    return chosen.write(items if least is None else confident(items, least), video_of(job))
