"""The schemas of the blueprint `jobs`."""

from __future__ import annotations

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from videoqueue.api.schemas import JobStatus, Timestamp, WholeNumber
from videoqueue.errors import ERROR_CODES, VideoqueueError
from videoqueue.jobs.keys import require_owner
from videoqueue.jobs.tables import MAX_OWNER
from videoqueue.jobs.types import STATUSES
from videoqueue.jobs.waiting import WAITING_FOR

#: The maximum number of jobs in a page.
MAX_JOBS = 200
DEFAULT_JOBS = 50
#: The last job of a page: the time at which it was made, and its id.
LIST_POSITION = r"^([0-9]{1,18})-([0-9a-f]{32})$"


def _require_owner_or_nobody(name: str) -> None:
    try:
        if name:
            require_owner(name)
    except VideoqueueError:
        raise ValidationError(
            f"takes the name of an owner: 1 to {MAX_OWNER} ASCII characters without spaces and commas. Leave "
            "the value empty for jobs of nobody"
        ) from None


class JobListRequest(Schema):
    """The parameters of a request for a list of jobs."""

    class Meta:
        unknown = RAISE

    status = fields.String(
        load_default=None,
        validate=validate.OneOf(STATUSES, error=f"takes {', '.join(STATUSES[:-1])} or {STATUSES[-1]}"),
        metadata={"description": "List only jobs in this state."},
    )
    page_size = WholeNumber(
        "The maximum number of jobs in the response.", default=DEFAULT_JOBS, largest=MAX_JOBS
    )
    page_token = fields.String(
        load_default=None,
        validate=validate.Regexp(
            LIST_POSITION,
            error="takes the `next_page_token` of an earlier page of this list. Leave it out to start with "
            "the newest jobs",
        ),
        metadata={"description": "The `next_page_token` of the previous page."},
    )
    owner = fields.String(
        load_default=None,
        validate=_require_owner_or_nobody,
        metadata={
            "pattern": r"^[!-+.-~-]*$",
            "maxLength": MAX_OWNER,
            "description": "List only jobs of this owner; empty for jobs of nobody. Jobs of others need the "
            "scope `admin`, which lists the jobs of all owners by default.",
        },
    )


class JobSummary(JobStatus):
    """A job in a list."""

    name = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The client's name of the video, only for display."},
    )
    pipeline_id = fields.String(required=True)
    owner = fields.String(
        metadata={
            "description": "The owner of the job; empty for a job of nobody. Only for callers with the scope "
            "`admin`."
        }
    )


class JobList(Schema):
    """The response of /jobs."""

    jobs = fields.List(fields.Nested(JobSummary), required=True)
    next_page_token = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The token of the next page; null on the last page."},
    )


class JobVideo(Schema):
    """The submitted video. What is not known at submission is null until the job ends."""

    bytes = fields.Integer(required=True, strict=True, attribute="input_bytes")
    sha256 = fields.String(required=True, attribute="input_sha256")
    width = fields.Integer(required=True, strict=True, allow_none=True)
    height = fields.Integer(required=True, strict=True, allow_none=True)
    fps = fields.Float(required=True, allow_none=True)
    duration = fields.Float(
        required=True, allow_none=True, metadata={"description": "The duration in seconds."}
    )
    codec = fields.String(required=True, allow_none=True)


class JobDescription(JobSummary):
    """The response of /jobs/{job_id}. Nothing in it counts what a running job has done, except `progress`."""

    frame_stride = fields.Integer(required=True, strict=True)
    max_frames = fields.Integer(required=True, strict=True, allow_none=True)
    pipeline_version = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The version of the pipeline that makes the results, once it is known."},
    )
    video = fields.Nested(JobVideo, required=True)
    attempt = fields.Integer(required=True, strict=True, metadata={"description": "The number of attempts."})
    failures = fields.Integer(required=True, strict=True)
    crashes = fields.Integer(required=True, strict=True)
    waiting_for = fields.String(
        required=True,
        allow_none=True,
        validate=validate.OneOf((*WAITING_FOR, None)),
        metadata={"description": "What a pending job waits for; null in other states."},
    )
    error_code = fields.String(
        required=True,
        allow_none=True,
        validate=validate.OneOf((*ERROR_CODES, None)),
        metadata={"description": "Why the job failed, for programs; null unless it failed."},
    )
    damaged_frames = fields.Integer(required=True, strict=True, allow_none=True)
    result_bytes = fields.Integer(required=True, strict=True, allow_none=True)
    started_at = Timestamp(required=True, allow_none=True)
    finished_at = Timestamp(required=True, allow_none=True)
    expires_at = Timestamp(
        required=True,
        allow_none=True,
        metadata={
            "description": "When the job is removed with its results and its video; null if it is kept or "
            "has not ended."
        },
    )


class PipelineSummary(Schema):
    """A pipeline that a job can have."""

    pipeline_id = fields.String(required=True)
    default = fields.Boolean(
        required=True, metadata={"description": "Whether a submission without `pipeline_id` has this one."}
    )
    description = fields.String(required=True)


class PipelineList(Schema):
    """The response of /pipelines."""

    pipelines = fields.List(fields.Nested(PipelineSummary), required=True)
