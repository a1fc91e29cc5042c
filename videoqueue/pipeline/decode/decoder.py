"""Decodes an MP4 file into frames.

The file is untrusted: only FFmpeg's MP4 demuxer runs, it may open no other file, and only the codecs of a
short list are decoded. What PyAV or FFmpeg raises becomes an `InvalidVideoError`, or an `OutOfMemoryError`
when an allocation failed. A frame that cannot be decoded is left out, and the others keep
their index. One thread decodes, because what comes out of a damaged video depends on the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import av.container

from videoqueue.mp4 import CODECS, VideoTrack, square_size
from videoqueue.pipeline.decode.colour_tags import colour_tags
from videoqueue.pipeline.decode.edits import read_edits
from videoqueue.pipeline.decode.errors import opening, reading
from videoqueue.pipeline.decode.file_view import file_view
from videoqueue.pipeline.decode.frame import Frame
from videoqueue.pipeline.decode.limits import DecodeLimits
from videoqueue.pipeline.decode.patches import patches_for_ffmpeg
from videoqueue.pipeline.decode.track import VideoStream, described_track, video_stream
from videoqueue.pipeline.decode.video import Presentation, Video, codec_pixel_aspect

__all__ = ["CODECS", "DECODERS", "Frame", "Video", "open_video"]

#: FFmpeg's libraries, which decide the pixels.
LIBRARY_VERSIONS: Mapping[str, tuple[int, ...]] = av.library_versions
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


@contextmanager
def open_video(path: str | Path, bounds: DecodeLimits | None = None, threads: int = 1) -> Iterator[Video]:
    """Opens the video track of an MP4 file for the block. Yields the open video.

    `threads`, at least 1, convert a frame's pixels.

    Raises:
        InvalidVideoError: no MP4, cut off, encrypted, beyond the bounds, without a video track, or with one
            that is not supported.
        OutOfMemoryError: an allocation failed.
        OSError: the file is missing or cannot be read.
    """
    # An absolute path cannot be taken for a URL.
    file = Path(path).absolute()
    bounds = bounds or DecodeLimits()
    track = described_track(file, bounds.check, bounds.accept_truncated)
    size = file.stat().st_size if track is None else track.usable_size
    edits = read_edits(file, track)
    patches = patches_for_ffmpeg(file, track, edits)
    with _container(file, size, bounds, patches) as container:
        stream = video_stream(container, track)
        with reading("The video cannot be opened"):
            colours = colour_tags(stream.codec_context, track)
            pixel_aspect = _prepare_decoder(stream, bounds, track)
            presentation = Presentation(edits.seconds if edits else None, pixel_aspect, colours, threads)
            video = Video(container, stream, size, bounds, presentation)
        yield video


@contextmanager
def _container(
    file: Path, size: int, bounds: DecodeLimits, patches: Mapping[int, bytes]
) -> Iterator[av.container.InputContainer]:
    with file_view(file, size, patches) as source:
        with opening():
            options = _DEMUXER_OPTIONS | bounds.demuxer_options()
            container = av.open(source, "r", format="mp4", options=options, metadata_errors="replace")
        with container:
            bounds.check_streams(len(container.streams))
            yield container


def _prepare_decoder(
    stream: VideoStream, bounds: DecodeLimits, track: VideoTrack | None
) -> tuple[int, int] | None:
    """Opens the decoder. Returns the container's pixel aspect ratio; None when it has none."""
    context: Any = stream.codec_context
    context.thread_count = 1
    context.thread_type = "NONE"
    context.options = _ONLY_THESE_DECODERS | bounds.decoder_options()
    described = track.pixel_aspect if track is not None and all(track.pixel_aspect or ()) else None
    pixel_aspect = described or codec_pixel_aspect(context)
    width, height = square_size(context.width, context.height, pixel_aspect)
    bounds.check_size("The video", width, height)
    context.open(strict=False)
    return described
