"""Classifies packets by the first header of their coded picture.

Decoders silently skip some packets whose data was overwritten. The header distinguishes such a packet from an
intact one that cannot be decoded because the recording begins between two key frames.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from videoqueue.pipeline.decode.bits import Bits, PacketData, leb128
from videoqueue.pipeline.decode.coded_frames import vp9_header
from videoqueue.pipeline.decode.length_prefixed import first_bytes_of_units, length_size


class Content(Enum):
    """What a packet contains. `UNKNOWN`: this form of the codec is not parsed."""

    KEY_FRAME = auto()
    OTHER_FRAME = auto()
    NO_FRAME = auto()
    UNKNOWN = auto()


ContentTest = Callable[[PacketData], Content]


def content_test(codec: str, configuration: bytes | None) -> ContentTest:
    """Returns a function that classifies the packets of a track.

    Args:
        codec: FFmpeg's name of the codec.
        configuration: FFmpeg's `extradata`.
    """
    size = length_size(codec, configuration or b"")
    if codec == "h264" and size:
        return lambda packet: _of_h264(bytes(packet), size)
    if codec == "hevc" and size:
        return lambda packet: _of_hevc(bytes(packet), size)
    reader = _READERS.get(codec)
    return lambda packet: Content.UNKNOWN if reader is None else reader(bytes(packet))


def _frame(is_key: bool) -> Content:
    return Content.KEY_FRAME if is_key else Content.OTHER_FRAME


def _of_h264(data: bytes, size: int) -> Content:
    """ISO/IEC 14496-10, table 7-1: an IDR picture is a key frame."""
    kinds = (first & 31 for first in first_bytes_of_units(data, size))
    return next((_frame(kind == 5) for kind in kinds if 1 <= kind <= 5), Content.NO_FRAME)


def _of_hevc(data: bytes, size: int) -> Content:
    """ISO/IEC 23008-2, table 7-1: an IRAP picture is a key frame."""
    kinds = (first >> 1 & 63 for first in first_bytes_of_units(data, size))
    return next((_frame(kind >= 16) for kind in kinds if kind < 32), Content.NO_FRAME)


def _of_av1(data: bytes) -> Content:
    """AV1 bitstream specification, 5.3 and 5.9.2: a key frame is one that is shown at once."""
    at = 0
    while at < len(data):
        header = data[at]
        at += 2 if header & 4 else 1
        size = len(data) - at
        if header & 2:
            size, at = leb128(data, at)
        if header & 128 or at + size > len(data):
            break
        if header >> 3 in (3, 6):  # OBU_FRAME_HEADER, OBU_FRAME
            return _frame(Bits(data[at : at + 1]).take(4) == 0b0001)
        at += size
    return Content.NO_FRAME


def _of_vp9(data: bytes) -> Content:
    """VP9 bitstream specification, 6.2."""
    bits = vp9_header(data)
    return Content.NO_FRAME if bits is None else _frame(bits.take(2) == 0)


def _of_mpeg4(data: bytes) -> Content:
    """ISO/IEC 14496-2, 6.2.5."""
    at = data.find(b"\0\0\1\xb6")
    return _frame(Bits(data[at + 4 : at + 5]).take(2) == 0) if at >= 0 else Content.NO_FRAME


def _of_mpeg2(data: bytes) -> Content:
    """ISO/IEC 13818-2, 6.2.3."""
    at = data.find(b"\0\0\1\0")
    bits = Bits(data[at + 4 : at + 6])
    bits.take(10)
    kind = bits.take(3)
    return _frame(kind == 1) if at >= 0 and 1 <= kind <= 3 else Content.NO_FRAME


def _of_h263(data: bytes) -> Content:
    """ITU-T H.263, 5.1. The type of a picture with an extended header is not read."""
    bits = Bits(data[:6])
    if bits.take(22) != 0b100000:
        return Content.NO_FRAME
    bits.take(13)
    extended = bits.take(3) == 7
    return _frame(not extended and bits.take(1) == 0)


_READERS: dict[str, Callable[[bytes], Content]] = {
    "av1": _of_av1,
    "vp9": _of_vp9,
    "mpeg4": _of_mpeg4,
    "mpeg2video": _of_mpeg2,
    "h263": _of_h263,
}
