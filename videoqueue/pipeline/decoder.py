"""MP4 -> frames.

The bytes are hostile: the demuxer is pinned to MP4, it may open nothing but the file itself, and only codecs
of a short list are decoded. Whatever PyAV or FFmpeg raise leaves here as an `InvalidVideoError`, or as an
`OutOfMemoryError` when an allocation failed. A frame that cannot be decoded is left out, and the others keep
their index. One thread decodes, because what comes out of a damaged video depends on the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import av.container
import av.error
import av.stream
import av.video.stream

from videoqueue.errors import InvalidVideoError
from videoqueue.pipeline.bounds import Bounds
from videoqueue.pipeline.decode_errors import opening, reading, unsupported
from videoqueue.pipeline.frame import Frame
from videoqueue.pipeline.truncation import readable_part, usable_size
from videoqueue.pipeline.video import Video

__all__ = ["CODECS", "DECODERS", "Frame", "Video", "open_video"]

CODECS = ("h264", "hevc", "av1", "vp9", "mpeg4", "mpeg2video", "h263")
#: FFmpeg's decoders of these codecs; AV1 has two.
DECODERS = (*CODECS, "libdav1d")
# FFmpeg decodes first frames of every track, sound and attached pictures included, when it opens a file.
_ONLY_THESE_DECODERS = {"codec_whitelist": ",".join(DECODERS)}
_DEMUXER_OPTIONS = {
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2",
    "protocol_whitelist": "file",
    "enable_drefs": "0",
    "use_absolute_path": "0",
} | _ONLY_THESE_DECODERS
_STILL_PICTURES = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails


@contextmanager
def open_video(path: str | Path, bounds: Bounds | None = None, threads: int = 1) -> Iterator[Video]:
    """Opens the first real video track of an MP4 file; `threads`, at least 1, convert a frame's pixels.

    Raises:
        InvalidVideoError: no MP4, cut off, encrypted, beyond the bounds, without a video track, or with one
            that is not supported.
        OutOfMemoryError: an allocation failed.
        OSError: the file is missing or cannot be read.
    """
    # An absolute path cannot be taken for a URL.
    file = Path(path).absolute()
    bounds = bounds or Bounds()
    size = usable_size(file, bounds.accept_truncated)
    with _container(file, size, bounds) as container:
        with reading("The video cannot be opened"):
            bounds.check_streams(len(container.streams))
            stream = _video_stream(container)
            _prepare_decoder(stream, bounds)
            video = Video(container, stream, size, bounds, threads)
        yield video


@contextmanager
def _container(file: Path, size: int, bounds: Bounds) -> Iterator[av.container.InputContainer]:
    with readable_part(file, size) as source:
        with opening(file):
            options = _DEMUXER_OPTIONS | bounds.demuxer_options()
            container = av.open(source, "r", format="mp4", options=options, metadata_errors="replace")
        with container:
            yield container


def _video_stream(container: av.container.InputContainer) -> av.video.stream.VideoStream:
    moving = [stream for stream in container.streams.video if not stream.disposition & _STILL_PICTURES]
    if not moving:
        raise InvalidVideoError(
            "no_video_track", "The file has no video track. Submit a file with moving pictures."
        )
    # A recorder may leave an empty track beside the one it filled.
    return next((stream for stream in moving if stream.frames or len(stream.index_entries)), moving[0])


def _prepare_decoder(stream: av.video.stream.VideoStream, bounds: Bounds) -> None:
    context: Any = stream.codec_context
    name = context.codec.canonical_name if context is not None else "unknown"
    if name not in CODECS:
        raise unsupported(f"The video codec is {name}. Convert the video to one of: {', '.join(CODECS)}.")
    bounds.check_size("The video", context.width, context.height)
    context.thread_count = 1
    context.thread_type = "NONE"
    context.options = _ONLY_THESE_DECODERS | bounds.decoder_options()
