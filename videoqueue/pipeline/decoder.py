"""MP4 -> frames. The only module that knows PyAV.

The bytes are hostile: the demuxer is pinned to MP4, it may open nothing but the file itself, and only codecs
of a short list are decoded. Whatever PyAV or FFmpeg raise leaves here as an `InvalidVideoError`, or as an
`OutOfMemoryError` when an allocation failed.
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
import numpy as np
import numpy.typing as npt
from av.video.reformatter import Interpolation

from videoqueue.errors import InvalidVideoError, NoFrameError, OutOfMemoryError
from videoqueue.pipeline.bounds import Bounds
from videoqueue.pipeline.same_picture import same_picture
from videoqueue.pipeline.truncation import check_whole, cut_off, mentions_encryption
from videoqueue.pipeline.upright import upright
from videoqueue.pipeline.video_info import VideoInfo

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
# The same pixels on every processor; the default takes shortcuts that depend on its instruction set.
_EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


class Frame:
    """One decoded frame; pixels are converted only when asked for.

    `index` counts from zero in the order the decoder gives frames; `timestamp` is in seconds, by the clock of
    the container.
    """

    def __init__(
        self, index: int, timestamp: float, picture: av.VideoFrame, matrix: bytes | None, threads: int
    ) -> None:
        self.index = index
        self.timestamp = timestamp
        self._picture = picture
        self._matrix = matrix
        self._threads = threads

    def image(self) -> npt.NDArray[np.uint8]:
        """The upright picture: uint8, (height, width, 3), BGR, C-contiguous.

        Raises:
            InvalidVideoError: its pixels cannot be converted.
        """
        with _reading(f"Frame {self.index} cannot be converted"):
            pixels: Any = self._picture.to_ndarray(
                format="bgr24", interpolation=_EXACT, threads=self._threads
            )
            return upright(pixels, self._matrix)

    def looks_like(self, other: Frame) -> bool:
        """Whether `image()` of both gives the very same pixels. False only means that it is not known."""
        return self._matrix == other._matrix and same_picture(self._picture, other._picture)


class Video:
    """An open video. `declared_frames` is 0 when the file does not say; `duration` is in seconds or None."""

    def __init__(
        self,
        container: av.container.InputContainer,
        stream: av.video.stream.VideoStream,
        file_size: int,
        bounds: Bounds,
    ) -> None:
        self._container = container
        self._stream = stream
        self._file_size = file_size
        self._bounds = bounds
        self._samples_checked = 0
        self._timestamp: float | None = None
        self._any_intact = False
        self._orientation: tuple[int, bytes | None] | None = None
        samples = len(stream.index_entries)
        # More samples than the movie's own table declares: the rest is in fragments, and more may follow.
        self.declared_frames = min(stream.frames, samples) if samples <= stream.frames else 0
        self.duration = _duration(container, stream)
        self._check_samples()

    @property
    def info(self) -> VideoInfo:
        """What is known of the video so far."""
        rate = self._stream.average_rate
        return VideoInfo(
            fps=float(rate) if rate else None,
            duration=self.duration,
            codec=self._stream.codec_context.codec.canonical_name,
        )

    def frames(self) -> Iterator[Frame]:
        """Decodes the whole video, once.

        Raises:
            InvalidVideoError: a frame is damaged or too large, there are too many, or the file ends early.
            NoFrameError: not one frame came out.
            OutOfMemoryError: an allocation failed.
        """
        threads = self._stream.codec_context.thread_count
        packets = self._container.demux(self._stream)
        index = 0
        while True:
            with _reading(f"Frame {index} cannot be decoded"):
                packet = next(packets, None)
                if packet is None:
                    break
                pictures = self._decode(index, packet)
            for picture in pictures:
                self._bounds.check_frames(index)
                self._bounds.check_size(f"Frame {index}", picture.width, picture.height)
                self._any_intact = self._any_intact or not picture.is_corrupt
                self._timestamp = self._time_of(picture)
                yield Frame(index, self._timestamp, picture, self._matrix_of(picture), threads)
                index += 1
        self._check_end(index)

    def _decode(self, index: int, packet: av.Packet[av.video.stream.VideoStream]) -> list[av.VideoFrame]:
        if packet.has_sidedata("encryption_info"):
            raise _encrypted()
        try:
            return packet.decode()
        except av.error.FFmpegError:
            self._bounds.check_size_after_failure(f"Frame {index}", self._stream.codec_context)
            raise

    def _matrix_of(self, picture: av.VideoFrame) -> bytes | None:
        """The display matrix; it is read anew only when the frame's rotation is another.

        Reading it ties the frame to itself: its pixels would stay until Python's collector comes by.
        """
        rotation = picture.rotation
        if self._orientation is None or self._orientation[0] != rotation:
            matrix: Any = picture.side_data.get("DISPLAYMATRIX")
            self._orientation = (rotation, None if matrix is None else bytes(matrix))
        return self._orientation[1]

    def _time_of(self, picture: av.VideoFrame) -> float:
        if picture.pts is not None and picture.time_base is not None:
            return round(float(picture.pts * picture.time_base), 6)
        if self._timestamp is None:
            return 0.0
        rate = self._stream.average_rate
        return round(self._timestamp + (float(1 / rate) if rate else 0.0), 6)

    def _check_samples(self) -> None:
        samples = self._stream.index_entries
        for number in range(self._samples_checked, len(samples)):
            sample = samples[number]
            if sample.pos + sample.size > self._file_size:
                raise cut_off("pictures it declares lie behind its end")
        self._samples_checked = len(samples)

    def _check_end(self, frames: int) -> None:
        self._check_samples()
        if frames == 0:
            raise NoFrameError("unsupported_video", self._why_no_frame())
        if not self._any_intact:
            raise _unsupported(
                "Every frame is damaged or encrypted. Submit an intact copy without protection."
            )

    def _why_no_frame(self) -> str:
        if self._stream.frames and not len(self._stream.index_entries):
            return (
                f"The video's table of {self._stream.frames} frames cannot be used: it is damaged, or needs "
                "more memory than a job may have (VIDEOQUEUE_SANDBOX_MEMORY_BYTES). Check that it plays."
            )
        return "The video track holds no frame that can be decoded. Check that the file plays."


@contextmanager
def open_video(path: str | Path, bounds: Bounds | None = None, threads: int = 1) -> Iterator[Video]:
    """Opens the first real video track of an MP4 file; `threads` of the decoder, at least 1.

    Raises:
        InvalidVideoError: no MP4, cut off, encrypted, beyond the bounds, without a video track, or with one
            that is not supported.
        OutOfMemoryError: an allocation failed.
        OSError: the file is missing or cannot be read.
    """
    # An absolute path cannot be taken for a URL.
    file = Path(path).absolute()
    bounds = bounds or Bounds()
    size = check_whole(file)
    with _reading("The file cannot be read as an MP4 video", "not_mp4", file):
        options = _DEMUXER_OPTIONS | bounds.demuxer_options()
        container = av.open(str(file), format="mp4", options=options, metadata_errors="replace")
    with container:
        with _reading("The video cannot be opened"):
            bounds.check_streams(len(container.streams))
            stream = _video_stream(container)
            _prepare_decoder(stream, bounds, threads)
            video = Video(container, stream, size, bounds)
        yield video


def _video_stream(container: av.container.InputContainer) -> av.video.stream.VideoStream:
    moving = [stream for stream in container.streams.video if not stream.disposition & _STILL_PICTURES]
    if not moving:
        raise InvalidVideoError(
            "no_video_track", "The file has no video track. Submit a file with moving pictures."
        )
    # A recorder may leave an empty track beside the one it filled.
    return next((stream for stream in moving if stream.frames or len(stream.index_entries)), moving[0])


def _prepare_decoder(stream: av.video.stream.VideoStream, bounds: Bounds, threads: int) -> None:
    context: Any = stream.codec_context
    name = context.codec.canonical_name if context is not None else "unknown"
    if name not in CODECS:
        raise _unsupported(f"The video codec is {name}. Convert the video to one of: {', '.join(CODECS)}.")
    bounds.check_size("The video", context.width, context.height)
    context.thread_count = threads
    context.thread_type = "AUTO" if threads > 1 else "NONE"
    context.options = _ONLY_THESE_DECODERS | bounds.decoder_options()


def _duration(container: av.container.InputContainer, stream: av.video.stream.VideoStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


@contextmanager
def _reading(what: str, code: Any = "unsupported_video", file: Path | None = None) -> Iterator[None]:
    """Translates everything PyAV and FFmpeg raise; `file` is looked at when it could not even be opened."""
    try:
        yield
    except InvalidVideoError:
        raise
    except MemoryError as error:
        raise OutOfMemoryError(f"{what}: it needs more memory than there is, or is damaged.") from error
    except av.error.PatchWelcomeError as error:
        raise _unsupported(
            f"{what}: it uses a feature that is not supported. Convert it to plain H.264."
        ) from error
    except (av.error.FFmpegError, ValueError, OverflowError) as error:
        if file is not None and mentions_encryption(file):
            raise _encrypted() from error
        reason = "it is something else, damaged, or encrypted" if code == "not_mp4" else "its data is damaged"
        raise InvalidVideoError(code, f"{what}: {reason}. Check that the file plays.") from error


def _unsupported(message: str) -> InvalidVideoError:
    return InvalidVideoError("unsupported_video", message)


def _encrypted() -> InvalidVideoError:
    return _unsupported("The video is encrypted (DRM). Submit a copy without protection.")
