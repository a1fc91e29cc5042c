"""One tree for every expected failure.

    VideoqueueError
    ├── SettingsError            a setting is wrong: the process does not start
    ├── PermanentError           trying again cannot help: the job fails now, with a reason
    │   ├── InvalidVideoError    the file is no video we can read (its `code` says which kind)
    │   │   └── NoFrameError     not one frame came out of it
    │   ├── OutOfMemoryError     an allocation failed in the process that reads the video
    │   ├── JobTimeoutError      the job was worked at for as long as one may be
    │   ├── UnknownPipelineError
    │   ├── PipelineError        a pipeline definition or plugin is at fault
    │   └── ObjectMissingError   the stored video is gone
    ├── TransientError           trying again may help
    │   ├── DatabaseUnavailableError
    │   ├── StorageUnavailableError
    │   ├── StorageFullError
    │   ├── QueueUnavailableError
    │   └── SandboxCrashedError  the child process that reads the video died
    ├── IdempotencyKeyReusedError
    └── LeaseLostError           another worker owns the job now

Messages are written for the user: what was wrong, the limit, what to do next. They name no path, host
or class.
"""

from __future__ import annotations

from typing import Final, Literal

#: The longest message of a job; a longer one is cut.
MOST_CHARACTERS: Final = 1000

VideoFault = Literal[
    "file_empty", "not_mp4", "truncated_mp4", "no_video_track", "unsupported_video", "video_damaged"
]


class VideoqueueError(Exception):
    """Base of all errors raised on purpose; `code` is stable and in snake_case."""

    code: str = "internal_error"


class SettingsError(VideoqueueError):
    code = "bad_setting"


class PermanentError(VideoqueueError):
    code = "job_failed"


class InvalidVideoError(PermanentError):
    """The bytes are not a video that can be read; `code` is one of `VideoFault`."""

    def __init__(self, code: VideoFault, message: str) -> None:
        super().__init__(message)
        self.code = code


class NoFrameError(InvalidVideoError):
    """A process short of memory cannot tell a good video from an empty one: the demuxer hides its own failed
    allocations. In a process that was used before, try once more in a fresh one.
    """


class OutOfMemoryError(PermanentError):
    """In a process that was used before, try once more in a fresh one."""

    code = "out_of_memory"


class JobTimeoutError(PermanentError):
    code = "job_timeout"


class UnknownPipelineError(PermanentError):
    code = "unknown_pipeline"


class PipelineError(PermanentError):
    code = "pipeline_failed"


class ObjectMissingError(PermanentError):
    code = "object_missing"


class TransientError(VideoqueueError):
    code = "temporarily_unavailable"


class DatabaseUnavailableError(TransientError):
    """`may_have_committed`: the connection was lost at COMMIT, so the changes may be there."""

    code = "database_unavailable"

    def __init__(self, message: str, *, may_have_committed: bool = False) -> None:
        super().__init__(message)
        self.may_have_committed = may_have_committed


class StorageUnavailableError(TransientError):
    code = "storage_unavailable"


class StorageFullError(TransientError):
    code = "storage_full"


class QueueUnavailableError(TransientError):
    code = "queue_unavailable"


class SandboxCrashedError(TransientError):
    code = "sandbox_crashed"


class IdempotencyKeyReusedError(VideoqueueError):
    code = "idempotency_key_reused"


class LeaseLostError(VideoqueueError):
    """Another worker owns the job now; whatever this one still had is discarded."""

    code = "lease_lost"
