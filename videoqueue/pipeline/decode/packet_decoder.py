"""Decodes packets one by one, and continues after packets that cannot be decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import av
import av.error
from av.bitstream import BitStreamFilterContext

from videoqueue.errors import InvalidVideoError
from videoqueue.pipeline.decode.coded_frames import has_several_frames
from videoqueue.pipeline.decode.errors import BAD_DATA, out_of_memory, refusal_of
from videoqueue.pipeline.decode.limits import DecodeLimits

if TYPE_CHECKING:
    import av.video.stream

    from videoqueue.pipeline.decode.packets import Packet


class PacketDecoder:
    """The decoder of one stream.

    `reason` is why the packet that was refused last was refused, when that may be other than damage.
    """

    def __init__(self, stream: av.video.stream.VideoStream, bounds: DecodeLimits) -> None:
        self.reason: InvalidVideoError | None = None
        self._context: Any = stream.codec_context
        self._bounds = bounds
        # When the first frame of such a packet is refused, FFmpeg's decoder of VP9 keeps the others, and
        # takes no further packet until somebody asks for their pictures.
        is_vp9 = self._context.codec.canonical_name == "vp9"
        self._splitter = BitStreamFilterContext("vp9_superframe_split", stream) if is_vp9 else None

    def decode(self, packet: Packet, frame: str) -> list[av.VideoFrame] | None:
        """Returns the pictures that come out; None when the packet cannot be decoded.

        `frame` is what an error calls the frame.

        Raises:
            InvalidVideoError: a group of pictures of a size beyond the bounds begins.
            OutOfMemoryError: an allocation failed.
        """
        self.reason = None
        try:
            return self._pictures(packet, frame)
        except MemoryError as error:
            raise out_of_memory(f"{frame} cannot be decoded") from error

    def _pictures(self, packet: Packet, frame: str) -> list[av.VideoFrame] | None:
        pictures: list[av.VideoFrame] = []
        refused = False
        for part in self._parts(packet):
            size = self._context.width, self._context.height
            try:
                pictures += self._context.decode(part)
            except MemoryError:
                raise
            except BAD_DATA as error:
                refused = True
                self._refused(packet, size, frame, error)
        return None if refused and not pictures else pictures

    def _parts(self, packet: Packet) -> list[Packet]:
        if self._splitter is None or not has_several_frames(packet):
            return [packet]
        try:
            return self._splitter.filter(packet)
        except MemoryError:
            raise
        except BAD_DATA:
            self._splitter.flush()
            return [packet]  # the decoder refuses it too

    def _refused(self, packet: Packet, size: tuple[int, int], frame: str, error: Exception) -> None:
        reason = None
        if isinstance(error, av.error.PatchWelcomeError):
            reason = refusal_of(f"{frame} cannot be decoded", error)
        if (self._context.width, self._context.height) != size:
            reason = self._bounds.refusal_after_failure(frame, self._context) or reason
            # Where a group of pictures begins, a video may change its size. Elsewhere it is damage.
            if reason is not None and packet.is_keyframe:
                raise reason from error
        self.reason = self.reason or reason
