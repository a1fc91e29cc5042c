"""What worker and child say to each other, in length-prefixed JSON (4 bytes big endian, then UTF-8).

The worker sends a `Task`. The child answers with any number of `item` and `alive` messages and then exactly
one of `OUTCOMES`, which also has what is known of the video (the fields of `VideoInfo`).
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from videoqueue.errors import (
    InvalidVideoError,
    NoFrameError,
    OutOfMemoryError,
    PermanentError,
    SandboxCrashedError,
    TransientError,
    VideoFault,
)
from videoqueue.pipeline.video_info import VideoInfo

LENGTH = struct.Struct(">I")
#: The largest message taken from a child; a frame's result is far smaller.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
OUTCOMES = frozenset({"done", "bad_video", "no_frame", "out_of_memory", "failed", "again"})

#: The largest number that the columns of a job hold.
_LARGEST = 2**31 - 1
#: Names of codecs, as FFmpeg writes them.
_CODEC = re.compile(r"[a-z0-9_]{1,32}")
_NONSENSE = "The process that reads the video sent a message that makes no sense."


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a child is asked to do."""

    path: str
    pipeline_id: str
    frame_stride: int
    max_frames: int | None
    start_after: int | None


@dataclass(frozen=True)
class Seen:
    """One finished frame, and how many bytes its message had."""

    item: dict[str, Any]
    size: int = 0


@dataclass(frozen=True)
class Ended:
    """The task is over, well or not; what is known of the video."""

    video: VideoInfo


@dataclass(frozen=True)
class Alive:
    """A sign of life with the fraction of the video done, 0 to 1."""

    progress: float


#: What a sandbox reports of a task.
Report: TypeAlias = Seen | Alive | Ended


def pack(message: Mapping[str, Any]) -> bytes:
    data = json.dumps(message, ensure_ascii=False, allow_nan=False).encode()
    return LENGTH.pack(len(data)) + data


def unpack(data: bytes) -> dict[str, Any]:
    """The message in `data`, without its length. Raises SandboxCrashedError when it is none."""
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise SandboxCrashedError(_NONSENSE)
    return message


def report_of(message: Mapping[str, Any], size: int, reached: int | None) -> Seen | Alive:
    """What a message under way says; `reached` is the last frame seen, behind which the next must lie."""
    match message:
        case {"type": "item", "item": {"frame_index": int() as index, "result": dict()} as item}:
            if index > (-1 if reached is None else reached):
                return Seen(item, size)
        case {"type": "alive", "progress": int() | float() as progress}:
            return Alive(min(1.0, max(0.0, float(progress))))
    raise SandboxCrashedError(_NONSENSE)


def video_of(outcome: Mapping[str, Any]) -> VideoInfo:
    """What an outcome says of the video. A field that is missing or makes no sense is None."""
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
    """The error that an outcome stands for; None when the task is done."""
    match outcome:
        case {"type": "done"}:
            return None
        case {"type": "bad_video", "code": str() as code, "message": str() as message}:
            return InvalidVideoError(cast(VideoFault, code), message)
        case {"type": "no_frame", "message": str() as message}:
            return NoFrameError("unsupported_video", message)
        case {"type": "out_of_memory", "message": str() as message}:
            return OutOfMemoryError(message)
        case {"type": "failed", "message": str() as message}:
            return PermanentError(message)
        case {"type": "again", "message": str() as message}:
            return TransientError(message)
    return SandboxCrashedError(_NONSENSE)
