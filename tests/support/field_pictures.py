"""An H.264 video whose fields are packets of their own, written bit by bit: no encoder at hand makes one."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av

SIZE = 32
_BLOCKS = SIZE // 16 * (SIZE // 32)  # macroblocks of a field


class _Writer:
    def __init__(self) -> None:
        self._bits = ""

    def put(self, value: int, count: int) -> None:
        self._bits += f"{value:0{count}b}"

    def golomb(self, *values: int) -> None:
        for value in values:
            size = (value + 1).bit_length()
            self.put(value + 1, 2 * size - 1)

    def align(self) -> None:
        self._bits += "0" * (-len(self._bits) % 8)

    def end(self) -> bytes:
        self.put(1, 1)
        self.align()
        return int(self._bits, 2).to_bytes(len(self._bits) // 8, "big")


def _sequence() -> bytes:
    bits = _Writer()
    bits.put(77, 8)  # main profile
    bits.put(0, 8)
    bits.put(30, 8)
    bits.golomb(0, 0, 2, 1)
    bits.put(0, 1)
    bits.golomb(SIZE // 16 - 1, SIZE // 32 - 1)
    bits.put(0b001, 3)  # fields may be coded, not adaptively; direct inference
    bits.put(0b00, 2)
    return b"\x67" + bits.end()


def _picture() -> bytes:
    bits = _Writer()
    bits.golomb(0, 0)
    bits.put(0, 2)
    bits.golomb(0, 0, 0)
    bits.put(0, 3)
    bits.golomb(0, 0, 0)
    bits.put(0b100, 3)
    return b"\x68" + bits.end()


def _field(frame: int, bottom: bool, level: int) -> bytes:
    """A field of plain grey; the first of all begins the sequence."""
    begins = frame == 0 and not bottom
    bits = _Writer()
    bits.golomb(0, 7, 0)
    bits.put(frame % 16, 4)
    bits.put(0b11 if bottom else 0b10, 2)
    if begins:
        bits.golomb(0)
    bits.put(0, 2 if begins else 1)
    bits.golomb(0, 1)
    for _ in range(_BLOCKS):
        bits.golomb(25)  # plain samples follow
        bits.align()
        for sample in [level] * 256 + [128] * 128:
            bits.put(sample, 8)
    return (b"\x65" if begins else b"\x21") + bits.end()


def write_fields(file: Path, frames: int) -> Path:
    """Frame n is grey of level 40 + 10 n; each of its two fields is a sample."""
    sequence, picture = _sequence(), _picture()
    raw = file.with_suffix(".h264")
    raw.write_bytes(b"".join(b"\0\0\0\1" + unit for unit in (sequence, picture, _field(0, False, 40))))
    with av.open(str(raw), format="h264") as start, av.open(str(file), "w", format="mp4") as output:
        track = output.add_stream_from_template(start.streams.video[0], opaque=True)
        track.time_base = Fraction(1, 50)
        for number in range(2 * frames):
            unit = _field(number // 2, bool(number % 2), 40 + 10 * (number // 2))
            packet = av.Packet(b"\0\0\0\1" + unit)
            packet.stream, packet.time_base = track, Fraction(1, 50)
            packet.pts = packet.dts = number
            packet.duration = 1
            packet.is_keyframe = number == 0
            output.mux(packet)
    return file
