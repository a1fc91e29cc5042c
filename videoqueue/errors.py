"""One tree for all expected errors.

    VideoqueueError
    ├── SettingsError            a setting is wrong: the process does not start
    ├── PermanentError           another attempt cannot succeed: the job fails now
    │   ├── InvalidVideoError    the file is not a video that can be decoded
    │   │   └── NoFrameError     no frame could be decoded
    │   ├── OutOfMemoryError     an allocation failed in the child process
    │   ├── ScratchFullError     the temporary files of the child process were too large
    │   ├── JobTimeoutError      the job exceeded its processing time
    │   ├── UnknownPipelineError
    │   ├── PipelineError        a pipeline definition or plugin has a fault
    │   ├── ResultsTooLargeError the result of a frame, or those of a job, are too large
    │   └── ObjectMissingError   the stored video is gone
    ├── TransientError           another attempt may succeed
    │   ├── DatabaseUnavailableError
    │   ├── StorageUnavailableError
    │   ├── StorageFullError
    │   ├── QueueUnavailableError
    │   └── SandboxCrashedError  the child process died
    │       └── StalledError     it made no progress
    ├── IdempotencyKeyReusedError
    ├── QuotaExceededError       the owner has as many pending jobs, or as much stored, as allowed
    ├── JobGoneError             the job was deleted while its results were read
    └── LeaseLostError           another worker owns the job now, or it was deleted

Messages are for the user: what was wrong, the limit, what to do next. They contain no path, host or class
name.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal, get_args

#: The maximum length of a job's error message in characters and in bytes of UTF-8; a longer one is cut.
MAX_MESSAGE_CHARACTERS: Final = 1000
MAX_MESSAGE_BYTES: Final = 2000
_MAX_ID_CHARACTERS: Final = 100

VideoFault = Literal[
    "file_empty",
    "not_mp4",
    "truncated_mp4",
    "no_video_track",
    "unsupported_video",
    "video_damaged",
    "limit_exceeded",
]
#: Why a job failed, for programs: the `error_code` of a failed job. A code never changes its meaning.
ErrorCode = Literal[
    VideoFault,
    "unknown_pipeline",
    "video_missing",
    "job_timeout",
    "stalled",
    "out_of_memory",
    "plugin_failed",
    "worker_crashed",
    "too_many_failures",
    "results_too_large",
]
ERROR_CODES: Final[tuple[ErrorCode, ...]] = get_args(ErrorCode)


def shortened(message: str, most: int = MAX_MESSAGE_CHARACTERS) -> str:
    """Returns a message of a job as it is stored, with an ellipsis in place of what is too long.

    Args:
        message: the message, without lone surrogates.
        most: maximum number of characters. The limit of `MAX_MESSAGE_BYTES` also applies.
    """
    if len(message) <= most and len(message.encode()) <= MAX_MESSAGE_BYTES:
        return message
    ellipsis = "…"
    kept = message[: most - 1].encode()[: MAX_MESSAGE_BYTES - len(ellipsis.encode())]
    return kept.decode(errors="ignore") + ellipsis


class VideoqueueError(Exception):
    """The base of all expected errors. `code` is in snake_case and never changes."""

    code: str = "internal_error"


class SettingsError(VideoqueueError):
    """A setting is wrong. The message is one line: the setting, its value and what it takes."""

    code = "bad_setting"


class PermanentError(VideoqueueError):
    """Another attempt cannot succeed. `code` is one of `ERROR_CODES`."""

    code = "plugin_failed"


class InvalidVideoError(PermanentError):
    """The file is not a video that can be decoded. `code` is one of `VideoFault`."""

    def __init__(self, code: VideoFault, message: str) -> None:
        super().__init__(message)
        self.code = code


class NoFrameError(InvalidVideoError):
    """No frame could be decoded.

    If the process was used before, retry once in a new one: FFmpeg reports a failed allocation as an empty
    video.
    """


class OutOfMemoryError(PermanentError):
    """An allocation failed. If the process was used before, retry once in a new one."""

    code = "out_of_memory"


class ScratchFullError(PermanentError):
    """The temporary files of the process were too large. If it was used before, retry once in a new one."""

    code = "limit_exceeded"


class JobTimeoutError(PermanentError):
    """The job exceeded its processing time, over all attempts."""

    code = "job_timeout"


class UnknownPipelineError(PermanentError):
    """No pipeline has the id. The message lists the known ones."""

    code = "unknown_pipeline"

    def __init__(self, pipeline_id: str, known: Collection[str]) -> None:
        cut = len(pipeline_id) > _MAX_ID_CHARACTERS
        shown = f"{pipeline_id[:_MAX_ID_CHARACTERS]}..." if cut else pipeline_id
        super().__init__(
            f"There is no pipeline {shown!r}. Known pipelines: {', '.join(sorted(known)) or 'none'}."
        )

    @classmethod
    def worded(cls, message: str) -> UnknownPipelineError:
        """Returns the error with a message that another process has worded."""
        error = cls("", ())
        error.args = (message,)
        return error


class PipelineError(PermanentError):
    """A pipeline definition or a plugin has a fault."""


class ResultsTooLargeError(PermanentError):
    """The result of a frame is larger than a message of the child may be, or a job has too large results."""

    code = "results_too_large"


class ObjectMissingError(PermanentError):
    """No object has the key; the stored video is gone."""

    code = "video_missing"


class TransientError(VideoqueueError):
    """Another attempt may succeed."""

    code = "temporarily_unavailable"


class DatabaseUnavailableError(TransientError):
    """The database is away, or refuses.

    `may_have_committed` is true when the connection was lost at COMMIT, so that the changes may be stored.
    """

    code = "database_unavailable"

    def __init__(self, message: str, *, may_have_committed: bool = False) -> None:
        super().__init__(message)
        self.may_have_committed = may_have_committed


class StorageUnavailableError(TransientError):
    """The object storage is away, or refuses."""

    code = "storage_unavailable"


class StorageFullError(TransientError):
    """The object storage, or the disk of the worker, has no space."""

    code = "storage_full"


class QueueUnavailableError(TransientError):
    """The queue is away, or refuses."""

    code = "queue_unavailable"


class SandboxCrashedError(TransientError):
    """The child process died."""

    code = "sandbox_crashed"


class StalledError(SandboxCrashedError):
    """The child process made no progress and was ended."""

    code = "stalled"


class IdempotencyKeyReusedError(VideoqueueError):
    """The idempotency key belongs to a job with another video or other parameters."""

    code = "idempotency_key_reused"


class QuotaExceededError(VideoqueueError):
    """The owner of a submission has as many pending jobs, or as much stored, as allowed."""

    code = "quota_exceeded"


class JobGoneError(VideoqueueError):
    """The job was deleted while its results were read. What was read before is incomplete."""

    code = "job_not_found"

    def __init__(self) -> None:
        super().__init__("The job was deleted while its results were read.")


class LeaseLostError(VideoqueueError):
    """Another worker owns the job now, or it was deleted. The caller discards its results."""

    code = "lease_lost"
