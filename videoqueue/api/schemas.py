"""The marshmallow schemas of requests and responses. The OpenAPI document is made from them."""

from __future__ import annotations

import math
import re

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from videoqueue.api.names import MAX_NAME, clean_name
from videoqueue.jobs.types import STATUSES, JobProgress, rfc3339

#: The largest value of a whole number: the columns of the database have 64 bits.
_LARGEST = 2**63 - 1
#: A number as JSON has it (RFC 8259, section 6); leading zeros and a point at the end are harmless.
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?", re.ASCII)
_MAX_DECIMAL = 400  # characters
#: The maximum number of frames in a page.
MAX_PAGE_SIZE = 1000


class WholeNumber(fields.Integer):
    """An integer from 1 to `largest`, as a number or as decimal text."""

    default_error_messages = {"invalid": "takes a whole number"}  # noqa: RUF012 - marshmallow's own way

    def __init__(self, description: str, *, default: int | None, largest: int = _LARGEST) -> None:
        takes = "of at least 1" if largest == _LARGEST else f"from 1 to {largest}"
        bounds = validate.Range(1, largest, error=f"takes a whole number {takes}")
        super().__init__(validate=bounds, load_default=default, metadata={"description": description})

    def _validated(self, value: object) -> int:
        # int() also accepts "1_000", " 7" and digits of other scripts.
        if isinstance(value, str) and not (value.isascii() and value.lstrip("-").isdigit()):
            raise self.make_error("invalid")
        return super()._validated(value)


class DecimalNumber(fields.Float):
    """A number of seconds or a share, from `smallest` to `largest`, as decimal text."""

    def __init__(self, description: str, *, smallest: float = 0, largest: float | None = None) -> None:
        takes = f"from {smallest:g} to {largest:g}" if largest is not None else f"of at least {smallest:g}"
        self._takes = f"takes a number {takes}"
        bounds = validate.Range(smallest, largest, error=self._takes)
        super().__init__(validate=bounds, load_default=None, metadata={"description": description})

    def _validated(self, value: object) -> float:
        # float() also accepts "1_0", " 7", "nan" and digits of other scripts.
        if not isinstance(value, str) or len(value) > _MAX_DECIMAL or not _DECIMAL.fullmatch(value):
            raise ValidationError(self._takes)
        number = float(value)
        if not math.isfinite(number):
            raise ValidationError(self._takes)
        return abs(number) if number == 0 else number


class Timestamp(fields.Field[int]):
    """Microseconds since 1970, written as RFC 3339 in UTC with `Z`."""

    def _serialize(self, value: int | None, attr: str | None, obj: object, **kwargs: object) -> str | None:
        return None if value is None else rfc3339(value)


class Name(fields.Field[str | None]):
    """A name to show: without control characters, None if nothing else is in it."""

    def _deserialize(self, value: object, attr: str | None, data: object, **kwargs: object) -> str | None:
        text = str(value)
        if not 1 <= len(text) <= MAX_NAME:
            raise ValidationError(f"takes 1 to {MAX_NAME} characters")
        return clean_name(text)


class SubmitRequest(Schema):
    """The parameters of a submission."""

    class Meta:
        unknown = RAISE

    pipeline_id = fields.String(
        validate=validate.Length(1, 100, error="takes 1 to 100 characters"),
        metadata={"description": "The pipeline that processes each frame."},
    )
    frame_stride = WholeNumber("Frames 0, n, 2n ... are processed.", default=1)
    max_frames = WholeNumber("The maximum number of frames to process. Default: all.", default=None)
    name = Name(
        load_default=None,
        metadata={
            "description": "The client's name of the video, only for display. Control characters are "
            "removed. Default: the file name in the form.",
            "minLength": 1,
            "maxLength": MAX_NAME,
        },
    )


class PageRequest(Schema):
    """The parameters of a request for one page of the results."""

    class Meta:
        unknown = RAISE

    page_size = WholeNumber(
        "The maximum number of frames in the response.", default=None, largest=MAX_PAGE_SIZE
    )
    page_token = fields.String(
        load_default=None,
        validate=validate.Length(1, 200, error="takes the `next_page_token` of the previous page"),
        metadata={"description": "The `next_page_token` of the previous page."},
    )


class JobAccepted(Schema):
    """The response to a submission."""

    job_id = fields.UUID(required=True)


class JobStatus(Schema):
    """The response of /video/status."""

    job_id = fields.UUID(required=True)
    status = fields.String(required=True, validate=validate.OneOf(STATUSES))
    progress = fields.Float(
        required=True,
        validate=validate.Range(0, 1),
        metadata={"description": "In steps of 0.1. It is 1.0 only when the job is completed."},
    )
    created_at = Timestamp(required=True)
    updated_at = Timestamp(required=True)
    error_message = fields.Method(
        "_error_message",
        required=True,
        metadata={"description": "Why the job failed; null unless it failed."},
    )

    def _error_message(self, job: JobProgress) -> str | None:
        # A job that waits for another attempt keeps its last error in the row. The client sees it as pending.
        return job.error_message if job.status == "failed" else None


class FrameResult(Schema):
    """What the pipeline found in one frame."""

    frame_index = fields.Integer(
        required=True,
        strict=True,
        validate=validate.Range(0),
        metadata={"description": "Zero-based index of the frame in the source."},
    )
    result = fields.Dict(
        required=True,
        metadata={"description": "The outputs of the pipeline, and `timestamp` in seconds."},
    )


class JobResults(Schema):
    """The response of /video/results."""

    job_id = fields.UUID(required=True)
    results = fields.List(fields.Nested(FrameResult), required=True)
    created_at = Timestamp(required=True)
    updated_at = Timestamp(required=True)
    next_page_token = fields.String(
        allow_none=True,
        metadata={"description": "The token of the next page; null on the last page. Only in pages."},
    )


class Health(Schema):
    """The response of /healthz."""

    status = fields.String(required=True, validate=validate.Equal("ok"))


class Readiness(Schema):
    """The response of /readyz."""

    status = fields.String(required=True, validate=validate.Equal("ready"))
    degraded = fields.List(
        fields.String(), metadata={"description": "Only with a key of the scope `metrics`, like the rest."}
    )
    workers = fields.Integer(strict=True, metadata={"description": "The number of live worker processes."})
    pending = fields.Integer(strict=True, metadata={"description": "The number of pending jobs."})
    oldest_pending_seconds = fields.Float(allow_none=True)


class Problem(Schema):
    """An error response (RFC 9457); `code` is stable, `detail` is for people."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True, strict=True)
    detail = fields.String(required=True)
    instance = fields.String(required=True)
    code = fields.String(required=True)
