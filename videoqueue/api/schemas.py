"""What goes in and out, as marshmallow schemas."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from videoqueue.api.problems import ApiError

#: The largest whole number a parameter takes; what the database's 64-bit columns hold.
_LARGEST = 2**63 - 1


class WholeNumber(fields.Integer):
    """An integer of at least 1, also as text."""

    default_error_messages = {"invalid": "takes a whole number"}  # noqa: RUF012 - marshmallow's own way

    def __init__(self, **options: Any) -> None:
        bounds = validate.Range(1, _LARGEST, error="takes a whole number of at least 1")
        super().__init__(validate=bounds, **options)


class Timestamp(fields.Field[int]):
    """Microseconds since 1970 as RFC 3339 UTC with `Z`."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else rfc3339(value)


class SubmitParameters(Schema):
    class Meta:
        unknown = RAISE

    pipeline_id = fields.String(validate=validate.Length(1, 100, error="takes 1 to 100 characters"))
    frame_stride = WholeNumber(load_default=1)
    max_frames = WholeNumber(load_default=None)


class JobAccepted(Schema):
    job_id = fields.UUID(required=True)


class JobStatus(Schema):
    job_id = fields.UUID(required=True)
    status = fields.String(required=True)
    progress = fields.Float(required=True)
    created_at = Timestamp(required=True)
    updated_at = Timestamp(required=True)
    error_message = fields.Method("_error_message", required=True)

    def _error_message(self, job: Any) -> str | None:
        # A job that waits for another try keeps its last error in the row; to the client it is just pending.
        return job.error_message if job.status == "failed" else None


def load_parameters(given: Mapping[str, str]) -> dict[str, Any]:
    """The parameters of a submission, checked.

    Raises:
        ApiError: `invalid_parameter`, naming the parameter, what was given and what it takes.
    """
    try:
        loaded: dict[str, Any] = SubmitParameters().load(given)
    except ValidationError as error:
        messages: dict[str, list[str]] = error.normalized_messages()  # type: ignore[no-untyped-call]
        name = next(iter(messages))
        if name not in SubmitParameters().fields:
            known = ", ".join(sorted(["file", *SubmitParameters().fields]))
            raise ApiError("invalid_parameter", f"There is no parameter {name!r}. Known: {known}.") from None
        raise ApiError(
            "invalid_parameter", f"{name}={given[name]!r} cannot be used: {name} {messages[name][0]}."
        ) from None
    return loaded


def rfc3339(microseconds: int) -> str:
    """For example 2026-01-31T12:00:00.123456Z."""
    moment = datetime.fromtimestamp(microseconds // 1_000_000, UTC).replace(
        microsecond=microseconds % 1_000_000
    )
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
