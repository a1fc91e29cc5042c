"""The protocol between worker and child: length-prefixed JSON (4 bytes big endian, then UTF-8).

The worker sends a `Task`. The child acknowledges it at once with an `alive` message. It then sends any number
of other `alive` messages, one `version` message, then any number of `item` and `alive` messages, and then
exactly one of `OUTCOMES`, which also has the fields of `VideoInfo`. A task that fails may end before the
version is known.

Every message of a child is checked and cleaned here, because hostile bytes may control it. It becomes a
report, the error of an outcome, or a `SandboxCrashedError`.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias, cast, get_args

from videoqueue.errors import (
    InvalidVideoError,
    NoFrameError,
    OutOfMemoryError,
    PipelineError,
    ResultsTooLargeError,
    SandboxCrashedError,
    TransientError,
    UnknownPipelineError,
    VideoFault,
)
from videoqueue.pipeline.decode.video_info import VideoInfo
from videoqueue.pipeline.results import FrameItem, FrameResult
from videoqueue.sandbox.untrusted import clean_text, clean_value

LENGTH = struct.Struct(">I")
#: Maximum size of a message from a child; a frame's result is far smaller.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
#: Maximum number of lists, objects and names in a message: parsed, each needs up to 150 bytes of the worker,
#: but only 3 bytes of the message.
MAX_MESSAGE_PARTS = 500_000
OUTCOMES = frozenset({"done", "bad_video", "no_frame", "out_of_memory", "failed", "again"})

#: The largest number that the columns of a job hold.
_LARGEST = 2**31 - 1
#: A codec's name, as FFmpeg writes it.
_CODEC = re.compile(r"[a-z0-9_]{1,32}")
_VERSION = re.compile(r"[0-9a-f]{64}")
_NONSENSE = "The process that reads the video sent a message that makes no sense."
_FAULTS = frozenset(get_args(VideoFault))
#: The largest whole number that every JSON parser keeps exact (RFC 8259, section 6).
_MOST_INDEX = 2**53 - 1


@dataclass(frozen=True, kw_only=True)
class Task:
    """One video for a child to process.

    The child resumes behind frame `start_after` if the pipeline still has `version`, or if `version` is None.
    Otherwise it begins with the first frame. `job_id` and `attempt` are for the log only.
    """

    path: str
    pipeline_id: str
    frame_stride: int
    max_frames: int | None
    start_after: int | None
    version: str | None = None
    job_id: str = ""
    attempt: int = 0

    def message(self) -> dict[str, Any]:
        """Returns what the child is sent."""
        return asdict(self)

    def log_fields(self) -> dict[str, object]:
        """Returns what the lines of the log about this task name."""
        return {"job_id": self.job_id, "attempt": self.attempt}


@dataclass(frozen=True)
class Begun:
    """The pipeline is loaded and has this version, to which all later results belong."""

    version: str


@dataclass(frozen=True)
class Seen:
    """One finished frame."""

    item: FrameItem


@dataclass(frozen=True)
class Ended:
    """The task has ended, with or without an error. `video` has the known facts about the video."""

    video: VideoInfo


@dataclass(frozen=True)
class Alive:
    """The child works; `progress` is the fraction of the video that is done, 0 to 1."""

    progress: float


#: A report of a sandbox about a task.
Report: TypeAlias = Begun | Seen | Alive | Ended


def pack(message: Mapping[str, Any]) -> bytes:
    """Returns the message with its length, in ASCII, because UTF-8 cannot encode a lone surrogate."""
    data = json.dumps(message, allow_nan=False).encode()
    return LENGTH.pack(len(data)) + data


def unpack(data: bytes) -> dict[str, Any]:
    """Returns the message in `data`, which has no length in front.

    Raises:
        SandboxCrashedError: it is not a message.
        ResultsTooLargeError: it has more than `MAX_MESSAGE_PARTS`. Those characters count in texts, too.
    """
    if sum(map(data.count, (b"[", b"{", b":"))) > MAX_MESSAGE_PARTS:
        raise ResultsTooLargeError(
            f"The result of a frame has more than {MAX_MESSAGE_PARTS} lists, objects and names. "
            "Use another pipeline."
        )
    try:
        message = json.loads(data.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError, MemoryError):
        message = None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise SandboxCrashedError(_NONSENSE)
    return message


def report_of(message: Mapping[str, Any], reached: int | None, has_begun: bool) -> Begun | Seen | Alive:
    """Returns the report for a message that is not an outcome.

    Args:
        message: the message.
        reached: the last frame seen; the next must have a higher index.
        has_begun: whether the version was reported. It must be, once, before the first frame.

    Raises:
        SandboxCrashedError: it is not allowed here, a number is out of range, or a value cannot be stored.
    """
    match message:
        case {"type": "version", "version": str() as version} if not has_begun and _VERSION.fullmatch(
            version
        ):
            return Begun(version)
        case {"type": "item", "item": {"frame_index": int() as index, "result": dict() as result}} if (
            has_begun
        ):
            first = 0 if reached is None else reached + 1
            if not isinstance(index, bool) and first <= index <= _MOST_INDEX:
                return Seen({"frame_index": index, "result": _result(result)})
        case {"type": "alive", "progress": int() | float() as progress}:
            if not isinstance(progress, bool) and (isinstance(progress, int) or math.isfinite(progress)):
                return Alive(float(min(1, max(0, progress))))
    raise SandboxCrashedError(_NONSENSE)


def video_of(outcome: Mapping[str, Any]) -> VideoInfo:
    """Returns the facts about the video in an outcome. A field that is missing or invalid is None."""
    return VideoInfo(
        damaged_frames=_count(outcome.get("damaged_frames")),
        width=_count(outcome.get("width")),
        height=_count(outcome.get("height")),
        fps=_positive(outcome.get("fps")),
        duration=_positive(outcome.get("duration")),
        codec=codec if isinstance(codec := outcome.get("codec"), str) and _CODEC.fullmatch(codec) else None,
    )


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST:
        return None
    return value


def _positive(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _LARGEST:
        return None
    return float(value)


def error_of(outcome: Mapping[str, Any]) -> Exception | None:
    """Returns the error of an outcome, with its text cleaned and cut; None if the task is done."""
    kind, given = outcome.get("type"), outcome.get("message")
    if kind == "done":
        return None
    if not isinstance(given, str):
        return SandboxCrashedError(_NONSENSE)
    message = clean_text(given) or "The process that reads the video named no reason."
    match outcome:
        case {"type": "bad_video", "code": str() as code} if code in _FAULTS:
            return InvalidVideoError(cast(VideoFault, code), message)
        case {"type": "no_frame"}:
            return NoFrameError("unsupported_video", message)
        case {"type": "out_of_memory"}:
            return OutOfMemoryError(message)
        case {"type": "failed", "code": "unknown_pipeline"}:
            return UnknownPipelineError.worded(message)
        case {"type": "failed"}:
            return PipelineError(message)
        case {"type": "again"}:
            return TransientError(message)
    return SandboxCrashedError(_NONSENSE)


def _result(given: dict[str, object]) -> FrameResult:
    try:
        result = cast(FrameResult, clean_value(given))
    except ValueError:
        raise SandboxCrashedError(_NONSENSE) from None
    timestamp = result.get("timestamp")
    if isinstance(timestamp, bool) or not isinstance(timestamp, int | float):
        raise SandboxCrashedError(_NONSENSE)
    return result


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
