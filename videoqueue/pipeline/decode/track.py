"""Which of the streams that FFmpeg finds in a file is its video."""

from __future__ import annotations

from pathlib import Path

import av.container
import av.stream
import av.video.stream

from videoqueue.errors import InvalidVideoError
from videoqueue.mp4 import (
    CODECS,
    CheckLimits,
    LimitExceededError,
    NoReadableTrackError,
    VideoTrack,
    video_track,
)
from videoqueue.pipeline.decode.errors import unsupported

VideoStream = av.video.stream.VideoStream
_STILL_PICTURES = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails


def described_track(file: Path, limits: CheckLimits, accept_truncated: bool = False) -> VideoTrack | None:
    """Returns what the boxes of a file say of its video; None when FFmpeg may know better.

    Raises:
        NoReadableTrackError: no track can be the video.
        LimitExceededError: the file exceeds one of the limits.
        InvalidVideoError: the file is empty (`file_empty`) or samples are missing (`truncated_mp4`). With
            `accept_truncated`, a file whose last fragment is cut off is no such file.
        OSError: the file is missing or cannot be read.
    """
    try:
        return video_track(file, limits, accept_truncated)
    except (NoReadableTrackError, LimitExceededError):
        raise
    except InvalidVideoError as error:
        if error.code in ("file_empty", "truncated_mp4"):
            raise
    return None


def video_stream(container: av.container.InputContainer, track: VideoTrack | None) -> VideoStream:
    """Returns the stream of the described track, or else of the one that the same rule leads to.

    Raises:
        InvalidVideoError: the file has no video, or one of a codec that is not supported.
    """
    moving = [stream for stream in container.streams.video if not stream.disposition & _STILL_PICTURES]
    if not moving:
        raise InvalidVideoError(
            "no_video_track", "The file has no video track. Submit a file with moving pictures."
        )
    stream = (track and _described(container, track)) or _first(moving)
    name = _codec(stream)
    if name not in CODECS:
        raise unsupported(f"The video codec is {name}. Convert the video to one of: {', '.join(CODECS)}.")
    return stream


def _described(container: av.container.InputContainer, track: VideoTrack) -> VideoStream | None:
    # Files may use an id twice. FFmpeg has a stream for each track, and one more for each attached picture.
    streams = [stream for stream in container.streams if not stream.disposition & _STILL_PICTURES]
    same_id = [stream for stream in streams if stream.id & 0xFFFF_FFFF == track.track_id]
    # Counted from the last: tracks in front of it may be hidden from FFmpeg.
    stream = same_id[-1 - track.same_id] if track.same_id < len(same_id) else None
    return stream if isinstance(stream, VideoStream) and _codec(stream) == track.codec else None


def _first(streams: list[VideoStream]) -> VideoStream:
    """The first enabled one that can be read and has samples; without one the first that comes nearest."""

    def lacks(stream: VideoStream) -> tuple[bool, bool, bool]:
        enabled = bool(stream.disposition & av.stream.Disposition.default)
        # A recorder may leave an empty track beside the one it filled.
        empty = not stream.frames and not len(stream.index_entries)
        return empty, _codec(stream) not in CODECS, not enabled

    return min(streams, key=lacks)


def _codec(stream: VideoStream) -> str:
    context = stream.codec_context
    return context.codec.canonical_name if context is not None else "unknown"
