"""The JSON bodies of the service, as `json` decodes them. A newer service may send further fields."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

Status = Literal["pending", "running", "completed", "failed"]


class JobStatus(TypedDict):
    """The status of a job. Times are RFC 3339 in UTC."""

    job_id: str
    status: Status
    #: 0.0 to 1.0 in tenths; 1.0 only when the job is completed.
    progress: float
    created_at: str
    updated_at: str
    error_message: str | None


class JobSummary(JobStatus):
    """A job in a list."""

    name: str | None
    pipeline_id: str
    #: Only with a key of the scope `admin`.
    owner: NotRequired[str]


class VideoDescription(TypedDict):
    """The submitted video. Fields after `sha256` are None until the job ends."""

    bytes: int
    sha256: str
    width: int | None
    height: int | None
    fps: float | None
    #: Seconds.
    duration: float | None
    codec: str | None


class JobDescription(JobSummary):
    """Everything about a job."""

    frame_stride: int
    max_frames: int | None
    pipeline_version: str | None
    video: VideoDescription
    attempt: int
    failures: int
    crashes: int
    waiting_for: str | None
    error_code: str | None
    damaged_frames: int | None
    result_bytes: int | None
    started_at: str | None
    finished_at: str | None
    expires_at: str | None


class Frame(TypedDict):
    """The results of one frame."""

    #: Zero-based index in the video, unchanged by `frame_stride`.
    frame_index: int
    #: `timestamp` in seconds, and the outputs of the pipeline: of `yolo_ocr`, `detections`, `text` and
    #: `text_blocks`.
    result: dict[str, Any]


class JobResults(TypedDict):
    """All results of a job, sorted by `frame_index`."""

    job_id: str
    results: list[Frame]
    created_at: str
    updated_at: str


class LabelSegment(TypedDict):
    """A range of time, in seconds, in which objects with a label are seen."""

    label: str
    start: float
    end: float
    confidence: float
    #: The largest number of such objects at the same time.
    peak_count: int


class TextSegment(TypedDict):
    """A range of time, in seconds, in which a text is seen."""

    text: str
    start: float
    end: float
    confidence: float
    #: x1, y1, x2, y2 in pixels.
    box: list[float]


class Segments(TypedDict):
    """When each label and each text is seen, sorted by start."""

    job_id: str
    labels: list[LabelSegment]
    texts: list[TextSegment]
    #: Whether there are more ranges than the service lists.
    truncated: bool


class PipelineSummary(TypedDict):
    """A pipeline that a job can have."""

    pipeline_id: str
    #: Whether a submission without `pipeline_id` has this one.
    default: bool
    description: str
