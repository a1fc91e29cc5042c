"""Makes spatial video: MV-HEVC of two views, as phones and headsets record it.

x265 writes two videos whose pictures are all intra coded, so that the slices of one can become layer 1 of the
other. The VPS describes both layers (ITU-T H.265, F.7.3.2.1.1), and the sample entry
has the boxes of Apple's "Stereo Video ISOBMFF Extensions".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import av

from tests.support.edited_videos import boxes
from tests.support.hevc import x265
from tests.support.mp4_boxes import box, full
from tests.support.sample_entries import ENTRY_HEAD, change_entries
from tests.support.small_videos import Picture

_VPS, _SPS, _PPS = 32, 33, 34
_POC_BITS = 8  # x265's log2_max_pic_order_cnt_lsb


def write_spatial(
    file: Path, left: Sequence[Picture], right: Sequence[Picture], described: bool = True
) -> Path:
    """Writes pictures (BGR) at 25 a second; the left ones are the base view.

    Without `described` the VPS says nothing of a second layer.
    """
    height, width = left[0].shape[:2]
    base = _encode(file.with_name(f"left {file.name}"), left)
    other = _encode(file.with_name(f"right {file.name}"), right)
    with (
        av.open(str(base)) as container,
        av.open(str(other)) as second,
        av.open(str(file), "w", format="mp4") as output,
    ):
        copy = output.add_stream_from_template(container.streams.video[0], opaque=True)
        for packet, view in zip(container.demux(video=0), second.demux(video=0), strict=True):
            if packet.dts is None:
                continue
            double = av.Packet(_both_views(bytes(packet), bytes(view)))
            double.pts, double.dts, double.time_base = packet.pts, packet.dts, packet.time_base
            double.is_keyframe, double.stream = packet.is_keyframe, copy
            output.mux(double)
    return change_entries(file, lambda entry: _spatial_entry(entry, (width, height) if described else None))


def _encode(file: Path, pictures: Sequence[Picture]) -> Path:
    height, width = pictures[0].shape[:2]
    options = x265(len(pictures), keyint=1, crf=10)
    with av.open(str(file), "w", format="mp4") as output:
        stream = output.add_stream("libx265", rate=25, width=width, height=height, options=options)
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        output.mux(stream.encode())
    return file


def _spatial_entry(entry: bytes, size: tuple[int, int] | None) -> bytes:
    pps = b""
    parts = [entry[8:ENTRY_HEAD]]
    for kind, start, stop in boxes(entry, ENTRY_HEAD, len(entry)):
        part = entry[start:stop]
        if kind == b"hvcC":
            part, pps = _described(part[8:], size)
        parts.append(part)
    # LHEVCDecoderConfigurationRecord (ISO/IEC 14496-15, 9.5.3) with the PPS of layer 1.
    pps = _layer_1_header(pps) + pps[2:]
    layered = bytes([1, 0xF0, 0, 0xFC, 0xCB, 1, 0x80 | _PPS]) + struct.pack(">HH", 1, len(pps)) + pps
    eyes = box(b"eyes", full(b"stri", rest=b"\3"), full(b"hero", rest=b"\1"))
    projection = box(b"proj", full(b"prji", rest=b"rect"))
    parts += [box(b"lhvC", layered), box(b"vexu", eyes, projection), box(b"hfov", struct.pack(">I", 63400))]
    return b"".join(parts)


def _described(configuration: bytes, size: tuple[int, int] | None) -> tuple[bytes, bytes]:
    """An `hvcC` whose VPS describes two views of this size, and its PPS."""
    pps = b""
    parts, at = [configuration[:23]], 23
    for _ in range(configuration[22]):
        kind, count = struct.unpack_from(">BH", configuration, at)
        parts.append(configuration[at : at + 3])
        at += 3
        for _ in range(count):
            (length,) = struct.unpack_from(">H", configuration, at)
            unit = configuration[at + 2 : at + 2 + length]
            at += 2 + length
            if size and kind & 0x3F == _VPS:
                unit = _of_two_views(unit, *size)
            if kind & 0x3F == _PPS:
                pps = unit
            parts += [struct.pack(">H", len(unit)), unit]
    return box(b"hvcC", *parts), pps


def _of_two_views(vps: bytes, width: int, height: int) -> bytes:
    """A VPS of one layer, with a second one that is another view of the first."""
    bits = _bits(_unescaped(vps)).rstrip("0")
    # Behind the layers: one layer set, no timing, no extension, and the bit that ends it.
    assert bits.endswith("000000" + "1" + "0" + "0" + "1")
    bits = bits[:22] + f"{1:06b}" + bits[28:-10]
    bits += f"{1:06b}" + _ue(1) + "11" + "0" + "1"
    bits += "1" * (-len(bits) % 8)
    bits += f"{30:08b}"  # level of the second profile
    bits += "0" + "01" + "0" * 14 + "000"  # scalable by views, whose order takes one bit
    bits += "0" + "1" + f"{1:04b}" + "01"  # the layers' numbers, their order, their views
    bits += "1" + "0" + "0" + "1"  # the second refers to the first
    bits += _ue(1) + _ue(0) + "00" + "11" + _ue(0)
    bits += f"{width:016b}{height:016b}" + "1" + "01" + f"{0:04b}{0:04b}" + "0"
    bits += "1" + "0" + "0"
    bits += _ue(4) + _ue(4) + _ue(0) + _ue(0)  # pictures that are held
    bits += _ue(0) + "1" + "00" + _ue(0) + "0"
    bits += "0" + "1"  # no further extension; the end
    return _escaped(_packed(bits))


def _both_views(left: bytes, right: bytes) -> bytes:
    """The units of one sample, and the slices of another in layer 1."""
    units = [unit for unit in _units(left) if unit[0] >> 1 not in (_VPS, _SPS, _PPS)]
    second = [_in_layer_1(unit) for unit in _units(right) if unit[0] >> 1 < _VPS]
    return b"".join(struct.pack(">I", len(unit)) + unit for unit in units + second)


def _in_layer_1(idr: bytes) -> bytes:
    bits = _bits(_unescaped(idr))
    at = 16 + 2  # behind the unit's header, first_slice_segment_in_pic_flag and no_output_of_prior_pics_flag
    for _ in ("slice_pic_parameter_set_id", "slice_type"):
        at += 2 * (bits.index("1", at) - at) + 1
    # In layer 1 also an IDR picture has a count of its order. A whole byte leaves the rest where it was.
    unit = _packed(bits[:at] + "0" * _POC_BITS + bits[at:])
    return _escaped(_layer_1_header(unit) + unit[2:])


def _layer_1_header(unit: bytes) -> bytes:
    """The header of a unit, whose layer is 0, in layer 1."""
    return bytes([unit[0], unit[1] | 1 << 3])


def _units(sample: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(sample):
        (size,) = struct.unpack_from(">I", sample, at)
        yield sample[at + 4 : at + 4 + size]
        at += 4 + size


def _ue(number: int) -> str:
    """An unsigned Exp-Golomb code."""
    code = f"{number + 1:b}"
    return "0" * (len(code) - 1) + code


def _bits(data: bytes) -> str:
    return "".join(f"{byte:08b}" for byte in data)


def _packed(bits: str) -> bytes:
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


def _unescaped(unit: bytes) -> bytes:
    return unit.replace(b"\0\0\3", b"\0\0")


def _escaped(unit: bytes) -> bytes:
    found = bytearray()
    for byte in unit:
        if byte <= 3 and found[-2:] == b"\0\0":
            found.append(3)
        found.append(byte)
    return bytes(found)
