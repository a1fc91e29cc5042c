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
# The highest bits of the last byte of a superframe, and of the first byte of a frame (VP9).
_SEVERAL_FRAMES = 0b110
_FRAME_MARKER = 0b10


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
        return _is_shown
    return lambda packet: True


def _is_shown(packet: PacketData) -> bool:
    """Whether a packet of VP9 has a frame that is shown (VP9 bitstream specification, 6.2 and annex B)."""
    data = memoryview(packet)
    bits = Bits(bytes(data[:2]))
    if data[-1] >> 5 == _SEVERAL_FRAMES or bits.take(2) != _FRAME_MARKER:
        return True
    if bits.take(2) == 3:
        bits.take(1)
    shows_earlier_frame = bits.take(1)
    bits.take(1)
    return bool(shows_earlier_frame or bits.take(1))


class _CodedPlanes:
    """Finds the packets of MPEG-4 part 2 in which no picture is coded."""

    def __init__(self, configuration: bytes) -> None:
        self._time_bits = _time_bits(configuration)

    def __call__(self, packet: PacketData) -> bool:
        data = bytes(packet)
        start = data.find(b"\0\0\1\xb6")
        if start < 0 or self._time_bits is None:
            return True
        bits = Bits(data[start + 4 : start + 4 + _HEADER_BYTES])
        bits.take(2)
        for _ in range(8 * _HEADER_BYTES):
            if not bits.take(1):
                break
        bits.take(1 + self._time_bits + 1)
        return bool(bits.take(1))


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
