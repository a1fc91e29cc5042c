"""What goes in and out, as marshmallow schemas; the OpenAPI document is made from them."""

from __future__ import annotations

from typing import Any

from marshmallow import RAISE, Schema, fields, validate

from videoqueue.jobs.types import STATUSES, rfc3339

#: The largest whole number a parameter takes; what the database's 64-bit columns hold.
_LARGEST = 2**63 - 1
MAX_PAGE_SIZE = 1000


class WholeNumber(fields.Integer):
    """An integer of at least 1, also as text."""

    default_error_messages = {"invalid": "takes a whole number"}  # noqa: RUF012 - marshmallow's own way

    def __init__(self, largest: int = _LARGEST, **options: Any) -> None:
        takes = "of at least 1" if largest == _LARGEST else f"from 1 to {largest}"
        bounds = validate.Range(1, largest, error=f"takes a whole number {takes}")
        super().__init__(validate=bounds, **options)

    def _validated(self, value: Any) -> int:
        # int() also reads "1_000", " 7" and digits of other scripts.
        if isinstance(value, str) and not (value.isascii() and value.lstrip("-").isdigit()):
            raise self.make_error("invalid")
        return super()._validated(value)


class Timestamp(fields.Field[int]):
    """Microseconds since 1970 as RFC 3339 UTC with `Z`."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else rfc3339(value)


class SubmitRequest(Schema):
    class Meta:
        unknown = RAISE

    pipeline_id = fields.String(
        validate=validate.Length(1, 100, error="takes 1 to 100 characters"),
        metadata={"description": "What to do with each frame."},
    )
    frame_stride = WholeNumber(load_default=1, metadata={"description": "Frames 0, n, 2n ... are processed."})
    max_frames = WholeNumber(
        load_default=None, metadata={"description": "Stop after so many processed frames. Default: all."}
    )


class PageRequest(Schema):
    class Meta:
        unknown = RAISE

    page_size = WholeNumber(
        MAX_PAGE_SIZE, load_default=None, metadata={"description": "Answer at most so many frames."}
    )
    page_token = fields.String(
        load_default=None,
        validate=validate.Length(1, 200, error="takes the `next_page_token` of the page before"),
        metadata={"description": "The `next_page_token` of the page before."},
    )


class JobAccepted(Schema):
    job_id = fields.UUID(required=True)


class JobStatus(Schema):
    job_id = fields.UUID(required=True)
    status = fields.String(required=True, validate=validate.OneOf(STATUSES))
    progress = fields.Float(
        required=True,
        validate=validate.Range(0, 1),
        metadata={"description": "In tenths; 1.0 exactly when completed."},
    )
    created_at = Timestamp(required=True)
    updated_at = Timestamp(required=True)
    error_message = fields.Method(
        "_error_message",
        required=True,
        metadata={"description": "Why the job failed, else null."},
    )

    def _error_message(self, job: Any) -> str | None:
        # A job that waits for another try keeps its last error in the row; to the client it is just pending.
        return job.error_message if job.status == "failed" else None


class FrameResult(Schema):
    frame_index = fields.Integer(
        required=True,
        strict=True,
        validate=validate.Range(0),
        metadata={"description": "Zero-based index of the frame in the source."},
    )
    result = fields.Dict(
        required=True,
        metadata={"description": "What the pipeline found, and `timestamp` in seconds."},
    )


class JobResults(Schema):
    job_id = fields.UUID(required=True)
    results = fields.List(fields.Nested(FrameResult), required=True)
    created_at = Timestamp(required=True)
    updated_at = Timestamp(required=True)
    next_page_token = fields.String(
        allow_none=True,
        metadata={"description": "Only when a page was asked for: the token of the next, null on the last."},
    )


class Health(Schema):
    status = fields.String(required=True, validate=validate.Equal("ok"))


class Readiness(Schema):
    status = fields.String(required=True, validate=validate.Equal("ready"))
    degraded = fields.List(fields.String(), required=True)
    workers = fields.Integer(required=True, strict=True, metadata={"description": "Worker processes alive."})
    pending = fields.Integer(required=True, strict=True, metadata={"description": "Jobs that wait."})
    oldest_pending_seconds = fields.Float(required=True, allow_none=True)


class Problem(Schema):
    """RFC 9457; `code` is stable, `detail` is for people."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True, strict=True)
    detail = fields.String(required=True)
    instance = fields.String(required=True)
    code = fields.String(required=True)
