"""Finds the packets of an H.264 track are the second field of a frame (ISO/IEC 14496-10, 7.3.3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from videoqueue.pipeline.decode.bits import Bits, PacketData

# Number of the frame, None when it cannot be read, and parity of a field.
_Field: TypeAlias = tuple[int | None, int]
_DAMAGED: _Field = (None, -1)

# Profiles whose sequence parameter set says more about the colours (ISO/IEC 14496-10, 7.3.2.1.1).
_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_SLICES = frozenset({1, 2, 5})
_HEADER_BYTES = 64  # more than the header of a slice takes


class FieldPairs:
    """Tests whether a packet begins a frame; the second field of a frame does not.

    `configuration` is the content of the box `avcC`. Packets come in the order of decoding.
    """

    def __init__(self, configuration: bytes) -> None:
        self._length_size = (configuration[4] & 3) + 1 if len(configuration) > 4 else 4
        self._sequences: dict[int, tuple[int, int, bool]] = {}
        self._sequence_of: dict[int, int] = {}
        self._begun: _Field | None = None  # the first field of a frame whose second may follow
        self._fields = False  # whether the packets before are fields
        self._first_parity = 0
        for unit in _configured_units(configuration):
            self._learn(unit)
        # Nearly every video declares that it has frames only: then no packet has to be read.
        self._never = bool(self._sequences) and all(frames for *_, frames in self._sequences.values())

    def __call__(self, packet: PacketData) -> bool:
        if self._never:
            return True
        begun, self._begun = self._begun, None
        field = self._field(bytes(packet))
        if field == _DAMAGED:
            # A packet that cannot be read counts as a field if the packets before it were fields.
            second = 1 - self._first_parity
            field = (None, second if begun else self._first_parity) if self._fields else None
        else:
            self._fields = field is not None
        if not field:
            return True
        number, parity = field
        if begun and parity != begun[1] and (number == begun[0] or None in (number, begun[0])):
            return False
        self._begun = field
        self._first_parity = parity
        return True

    def _field(self, packet: bytes) -> _Field | None:
        """The field that a packet holds; None when it is a whole frame, _DAMAGED when it cannot be read."""
        for unit in _units(packet, 0, self._length_size):
            if unit[0] & 31 in _SLICES:
                return self._slice_field(Bits(_unescaped(unit[1:])))
            self._learn(unit)
        return _DAMAGED

    def _slice_field(self, bits: Bits) -> _Field | None:
        bits.golomb()
        bits.golomb()
        sequence = self._sequences.get(self._sequence_of.get(bits.golomb(), -1))
        if sequence is None:
            return None
        number_bits, plane_bits, frames = sequence
        bits.take(plane_bits)
        number = bits.take(number_bits)
        if frames or not bits.take(1):
            return None
        return number, bits.take(1)

    def _learn(self, unit: bytes) -> None:
        kind = unit[0] & 31
        if kind == 7:
            self._learn_sequence(Bits(_unescaped(unit[1:], 4 * _HEADER_BYTES)))
        elif kind == 8:
            bits = Bits(_unescaped(unit[1:]))
            picture = bits.golomb()
            self._sequence_of[picture] = bits.golomb()

    def _learn_sequence(self, bits: Bits) -> None:
        profile = bits.take(8)
        bits.take(16)
        number = bits.golomb()
        plane_bits = _skip_colours(bits) if profile in _HIGH_PROFILES else 0
        number_bits = bits.golomb() + 4
        order = bits.golomb()
        if order == 0:
            bits.golomb()
        elif order == 1:
            bits.take(1)
            bits.golomb()
            bits.golomb()
            for _ in range(min(bits.golomb(), 255)):
                bits.golomb()
        bits.golomb()
        bits.take(1)
        bits.golomb()
        bits.golomb()
        self._sequences[number] = (min(number_bits, 16), plane_bits, bool(bits.take(1)))


def _skip_colours(bits: Bits) -> int:
    """Skips the part that high profiles have. Returns the number of bits of a slice's colour plane."""
    chroma = bits.golomb()
    plane_bits = 2 * bits.take(1) if chroma == 3 else 0
    bits.golomb()
    bits.golomb()
    bits.take(1)
    if bits.take(1):
        for matrix in range(12 if chroma == 3 else 8):
            if bits.take(1):
                _skip_scaling(bits, 16 if matrix < 6 else 64)
    return plane_bits


def _skip_scaling(bits: Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            code = bits.golomb()
            following = (last + (code + 1 >> 1 if code & 1 else -(code >> 1))) % 256
        last = following or last


def _configured_units(configuration: bytes) -> Iterator[bytes]:
    """The parameter sets of an `avcC` (ISO/IEC 14496-15, 5.3.3.1)."""
    at = 5
    for mask in (31, 255):
        if at >= len(configuration):
            return
        count, at = configuration[at] & mask, at + 1
        for _ in range(count):
            size = int.from_bytes(configuration[at : at + 2], "big")
            if unit := configuration[at + 2 : at + 2 + size]:
                yield unit
            at += 2 + size


def _units(packet: bytes, at: int, length_size: int) -> Iterator[bytes]:
    """The beginnings of the units of a packet, each of which has its length in front."""
    while at + length_size < len(packet):
        size = int.from_bytes(packet[at : at + length_size], "big")
        at += length_size
        if size:
            yield bytes(packet[at : at + min(size, 5 * _HEADER_BYTES)])
        at += size


def _unescaped(data: bytes, most: int = _HEADER_BYTES) -> bytes:
    return data[:most].replace(b"\0\0\3", b"\0\0")
