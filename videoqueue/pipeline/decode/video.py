"""An open video: decodes its packets to frames, and keeps count of those that are lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import av

from videoqueue.mp4 import HIDDEN, ColourTags
from videoqueue.pipeline.decode.coded_frames import frame_test
from videoqueue.pipeline.decode.colour_tags import fill_in
from videoqueue.pipeline.decode.damage import Damage
from videoqueue.pipeline.decode.detach import LEAVING_REST, Detacher
from videoqueue.pipeline.decode.display_matrix import MatrixReader
from videoqueue.pipeline.decode.errors import cut_off, encrypted, out_of_memory, reading
from videoqueue.pipeline.decode.frame import Frame, Look
from videoqueue.pipeline.decode.frame_index import FrameNumbers
from videoqueue.pipeline.decode.frame_order import FrameOrder
from videoqueue.pipeline.decode.hdr import colours_of
from videoqueue.pipeline.decode.leading_packets import LeadingPackets, SyncSamples
from videoqueue.pipeline.decode.limits import DecodeLimits
from videoqueue.pipeline.decode.packet_content import Content, content_test
from videoqueue.pipeline.decode.packet_decoder import PacketDecoder
from videoqueue.pipeline.decode.packets import PacketReader
from videoqueue.pipeline.decode.video_info import VideoInfo
from videoqueue.pipeline.memory import MemoryMark

if TYPE_CHECKING:
    import av.video.stream

    from videoqueue.pipeline.decode.packets import Packet

# What a decoder allocates at once, at most: a picture, or its tables.
_BYTES_A_PIXEL = 3
_DECODER_BYTES = 16 * 1024**2


@dataclass(frozen=True)
class Presentation:
    """How the file wants its video to be shown.

    `duration`: seconds until the last frame ends, None when only FFmpeg knows. `pixel_aspect`: width and
    height of a pixel, None when only the decoder knows. `colours` are the container's. `threads` convert a
    frame's pixels.
    """

    duration: float | None
    pixel_aspect: tuple[int, int] | None
    colours: ColourTags
    threads: int


class Video:
    """An open video. `declared_frames` is 0 when the file does not say; `duration` is in seconds or None."""

    def __init__(
        self,
        container: av.container.InputContainer,
        stream: av.video.stream.VideoStream,
        file_size: int,
        bounds: DecodeLimits,
        presentation: Presentation,
    ) -> None:
        self._container = container
        self._stream = stream
        self._file_size = file_size
        self._bounds = bounds
        self._presentation = presentation
        self._pixel_aspect = presentation.pixel_aspect
        self._pixels_known = presentation.pixel_aspect is not None
        self._size: tuple[int, int] | None = None
        self._samples_checked = 0
        self._timestamp: float | None = None
        self._matrices = MatrixReader()
        self._memory = MemoryMark()
        codec = stream.codec_context.codec.canonical_name
        self._detacher = Detacher() if codec in LEAVING_REST else None
        self._decoder = PacketDecoder(stream, bounds)
        self._content = content_test(codec, stream.codec_context.extradata)
        # The flag of a packet is not asked: FFmpeg also sets it by what is in the packet.
        self._sync_samples = SyncSamples(stream.index_entries)
        self._numbers = FrameNumbers()
        self._leading = LeadingPackets(codec)
        self._damage = Damage(self._numbers, self._leading, bounds)
        samples = len(stream.index_entries)
        # More samples than the movie's own table declares: the rest is in fragments, and more may follow.
        self.declared_frames = min(stream.frames, samples) if samples <= stream.frames else 0
        self.duration = presentation.duration or _duration(container, stream)
        self._check_samples()

    @property
    def damaged_frames(self) -> int:
        """Returns the number of frames read so far that could not be decoded."""
        return self._damage.frames

    @property
    def info(self) -> VideoInfo:
        """Returns what is known of the video so far; the rest is None."""
        rate = self._stream.average_rate
        width, height = self._size or (None, None)
        return VideoInfo(
            damaged_frames=self.damaged_frames,
            width=width,
            height=height,
            fps=float(rate) if rate else None,
            duration=self.duration,
            codec=self._stream.codec_context.codec.canonical_name,
        )

    def frames(self, last_index: int | None = None) -> Iterator[Frame]:
        """Decodes the video once, up to the frame `last_index` (None: to the end); yields the intact frames.

        Raises:
            InvalidVideoError: too few frames are intact, which is decided at the end; a frame is too large,
                there are too many, or the file ends early.
            NoFrameError: the track has no frame.
            OutOfMemoryError: an allocation failed.
        """
        self._damage.wanted = None if last_index is None else last_index + 1
        context: Any = self._stream.codec_context
        holds_frame = frame_test(context.codec.canonical_name, context.extradata)
        packets = self._container.demux(self._stream)
        reader = PacketReader(packets, holds_frame, self._numbers)
        order = FrameOrder(context.codec.canonical_name)
        for picture in self._pictures(reader, order):
            index = self._numbers.number(picture.pts, intact=not order.damaged)
            if order.damaged:
                self._check_memory(picture.width * picture.height)
            if index is None:
                continue
            self._timestamp = self._time_of(picture)
            if last_index is None or index <= last_index:
                self._bounds.check_frames(index)
                if picture.is_corrupt:
                    self._damage.frame(picture.pts, intact=False)
                else:
                    frame = self._frame(index, picture)
                    self._damage.frame(picture.pts, intact=True)
                    yield frame
            if last_index is not None and index >= last_index:
                break
        else:
            self._check_samples()
        if self.damaged_frames:
            self._check_memory(context.width * context.height)
        self._damage.check(self._why_no_frame())

    def _pictures(self, reader: PacketReader, order: FrameOrder) -> Iterator[av.VideoFrame]:
        while (packet := self._next_packet(reader)) is not None:
            if reader.counted:
                order.sent(packet.pts)
            pictures = self._decoder.decode(packet, f"Frame {self._numbers.next}")
            self._memory.look()
            if not pictures and packet.size:
                self._no_picture(reader, packet, order, refused=pictures is None)
            if reader.counted:
                self._leading.sent()
            if pictures and not self._pixels_known:
                # Fixed with the first picture: boxes of a video are in one kind of pixels.
                self._pixels_known = True
                self._pixel_aspect = codec_pixel_aspect(self._stream.codec_context)
            for picture in pictures or ():
                reader.read_until(picture.pts)
                order.add(picture)
            yield from order.released(reader.next_pts)
        yield from order.rest()

    def _no_picture(self, reader: PacketReader, packet: Packet, order: FrameOrder, refused: bool) -> None:
        """Notes what is lost with a packet behind which no picture came out."""
        content = self._content(packet)
        if refused or (reader.counted and content is Content.NO_FRAME):
            order.failed(packet.pts)
        if refused:
            self._damage.refused(self._decoder.reason)
        is_sync = reader.number in self._sync_samples
        self._leading.no_frame(packet.pts, content, is_sync, refused)

    def _next_packet(self, reader: PacketReader) -> Packet | None:
        while True:
            with reading("The video cannot be read"):
                packet = reader.next()
            if packet is not None and packet.has_sidedata("encryption_info"):
                raise encrypted()
            # A sample without data would end the decoding; the demuxer ends with one that has no time.
            if packet is None or packet.size or packet.dts is None:
                return packet

    def _check_memory(self, pixels: int) -> None:
        """Raises OutOfMemoryError when frames may be lost because a picture of so many pixels had no room."""
        if self._memory.came_near(_BYTES_A_PIXEL * pixels + _DECODER_BYTES):
            raise out_of_memory("A frame cannot be decoded")

    def _frame(self, index: int, picture: av.VideoFrame) -> Frame:
        assert self._timestamp is not None
        with reading(f"Frame {index} cannot be read"):
            matrix = self._matrices.matrix_of(picture)
        fill_in(picture, self._presentation.colours)
        look = Look(matrix, self._pixel_aspect, colours_of(picture))
        self._bounds.check_size(f"Frame {index}", *look.size_of(picture))
        self._size = self._size or look.upright_size_of(picture)
        if self._detacher is not None:
            with reading(f"Frame {index} cannot be read"):
                picture = self._detacher.copy(picture)
        return Frame(index, self._timestamp, picture, look, self._presentation.threads)

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

    def _why_no_frame(self) -> str:
        samples = self._stream.index_entries
        if len(samples) and all(samples[number].is_discard for number in range(len(samples))):
            return HIDDEN
        if self._stream.frames and not len(samples):
            return (
                f"The video's table of {self._stream.frames} frames cannot be used: it is damaged, or needs "
                f"more memory than a job may have ({self._bounds.setting('sandbox_memory_bytes')}). "
                "Check that it plays."
            )
        return "The video track holds no frame that can be decoded. Check that the file plays."


def codec_pixel_aspect(context: Any) -> tuple[int, int] | None:
    """Returns a pixel's width and height in the coded video; None if they are equal or it does not say.

    Not the stream's ratio: FFmpeg also takes that from the scale in the display matrix.
    """
    ratio = context.sample_aspect_ratio
    return (ratio.numerator, ratio.denominator) if ratio and ratio != 1 else None


def _duration(container: av.container.InputContainer, stream: av.video.stream.VideoStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None
