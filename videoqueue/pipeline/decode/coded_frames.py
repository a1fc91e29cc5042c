"""Finds the packets of a track that hold a frame. Nearly every packet does.

The exceptions: the second field of an H.264 frame may be a packet of its own (ISO/IEC 14496-10, 7.3.3), VP9
has frames that are never shown, and MPEG-4 part 2 packets that only say that nothing is coded (ISO/IEC
14496-2, 6.2.5).
"""

from __future__ import annotations

from collections.abc import Callable

from videoqueue.pipeline.decode.bits import Bits, PacketData
from videoqueue.pipeline.decode.field_pairs import FieldPairs

# The argument is a packet: anything that `bytes` takes.
HoldsFrame = Callable[[PacketData], bool]

_HEADER_BYTES = 64  # more than any header that is read here
# MPEG-4 part 2: what a plane begins with, and what anything begins with.
_PLANE, _START = b"\0\0\1\xb6", b"\0\0\1"
# A plane that is not coded ends behind its header. One that is coded goes on for 12 bits and more.
_MOST_UNCODED_BYTES = 16
_MOST_STUFFING_BITS = 15
# The highest bits of the last byte of a superframe, and of the first byte of a frame (VP9).
_SEVERAL_FRAMES = 0b110
_FRAME_MARKER = 0b10
_HIDDEN_TICKS = 2  # most that a muxer counts for a hidden frame, so that times increase


def frame_test(codec: str, configuration: bytes | None) -> HoldsFrame:
    """Returns a test for the packets of a track, to be called in the order of decoding.

    Args:
        codec: FFmpeg's name of the codec.
        configuration: FFmpeg's `extradata`.
    """
    if codec == "h264" and configuration and configuration[0] == 1:
        return FieldPairs(configuration)
    if codec == "mpeg4":
        return _CodedPlanes(configuration or b"")
    if codec == "vp9":
        return _ShownFrames()
    return lambda packet: True


def has_several_frames(packet: PacketData) -> bool:
    """Returns whether a packet of VP9 holds several frames (VP9 bitstream specification, annex B)."""
    data = memoryview(packet)
    return bool(data.nbytes) and data[-1] >> 5 == _SEVERAL_FRAMES


def vp9_header(data: bytes) -> Bits | None:
    """Returns the header of a VP9 frame behind its profile (6.2); None when the data begins no frame."""
    bits = Bits(data[:2])
    if bits.take(2) != _FRAME_MARKER:
        return None
    if bits.take(2) == 3:
        bits.take(1)
    return bits


class _ShownFrames:
    """Finds the packets of VP9 with a frame that is shown (VP9 bitstream specification, 6.2 and annex B).

    A hidden frame should be in the packet of a shown one (VP Codec ISO Media File Format Binding). One in a
    packet of its own takes no time; if it takes as long as other frames, its header is damaged.
    """

    def __init__(self) -> None:
        self._duration = 0  # of the shown frame before, in ticks

    def __call__(self, packet: PacketData) -> bool:
        duration = getattr(packet, "duration", None) or 0
        # Fragments do not say how long a frame lasts.
        takes_time = not duration or 2 * duration > max(self._duration, _HIDDEN_TICKS)
        shown = takes_time or _is_shown(packet)
        if shown:
            self._duration = duration
        return shown


def _is_shown(packet: PacketData) -> bool:
    bits = vp9_header(bytes(memoryview(packet)[:2]))
    if bits is None or has_several_frames(packet):
        return True
    shows_earlier_frame = bits.take(1)
    bits.take(1)
    return bool(shows_earlier_frame or bits.take(1))


class _CodedPlanes:
    """Finds the packets of MPEG-4 part 2 in which no picture is coded."""

    def __init__(self, configuration: bytes) -> None:
        self._time_bits = _time_bits(configuration)

    def __call__(self, packet: PacketData) -> bool:
        if self._time_bits is None:
            return True
        _, *planes = bytes(packet).split(_PLANE)
        return not planes or any(_is_coded(plane, self._time_bits) for plane in planes)


def _is_coded(plane: bytes, time_bits: int) -> bool:
    """Whether a plane, read behind its start code, is coded. If more than stuffing follows, it is."""
    plane = plane.split(_START, 1)[0]
    if len(plane) > _MOST_UNCODED_BYTES:
        return True
    bits = Bits(plane)
    bits.take(2)
    read = 2 + 1 + 1 + time_bits + 1 + 1
    while bits.take(1):
        read += 1
    marker = bits.take(1)
    bits.take(time_bits)
    if not marker or not bits.take(1) or bits.take(1):
        return True
    return 8 * len(plane.rstrip(b"\0").removesuffix(b"\x7f")) - read > _MOST_STUFFING_BITS


def _time_bits(configuration: bytes) -> int | None:
    """Returns the number of bits of a picture's time; None when no header declares it."""
    at = next(
        (at for layer in range(16) if (at := configuration.find(b"\0\0\1" + bytes([32 + layer]))) >= 0), -1
    )
    if at < 0:
        return None
    bits = Bits(configuration[at + 4 : at + 4 + _HEADER_BYTES])
    bits.take(9)
    version = 1
    if bits.take(1):
        version = bits.take(4)
        bits.take(3)
    if bits.take(4) == 15:
        bits.take(16)
    if bits.take(1):
        bits.take(3)
        if bits.take(1):
            bits.take(79)
    if bits.take(2) == 3 and version != 1:
        bits.take(4)
    bits.take(1)
    return max(1, (bits.take(16) - 1).bit_length())
