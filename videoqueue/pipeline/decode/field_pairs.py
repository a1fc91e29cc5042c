"""Finds the packets of an H.264 track that are the second field of a frame (ISO/IEC 14496-10, 7.3.3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from videoqueue.pipeline.decode.bits import Bits, PacketData
from videoqueue.pipeline.decode.length_prefixed import length_size, units

_WHOLE_FRAME = 2


class _Picture(NamedTuple):
    """The header of a field or of a whole frame.

    `number` is that of the frame. `parity` is 0 for a top field, 1 for a bottom field, 2 for a whole frame.
    A header that cannot be read has no number, and that of a field no parity.
    """

    number: int | None
    parity: int | None
    is_reference: bool


# Profiles whose sequence parameter set says more about the colours (ISO/IEC 14496-10, 7.3.2.1.1).
_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_SLICES = frozenset({1, 2, 5})
_IDR = 5
_REFERENCE = 0b0110_0000  # bits of the first byte of a unit
_LAST_KIND = 9  # of slices
_HEADER_BYTES = 64  # more than the header of a slice takes


class FieldPairs:
    """Tests whether a packet begins a frame; the second field of a frame does not.

    `configuration` is the content of the box `avcC`. Packets come in the order of decoding.
    """

    def __init__(self, configuration: bytes) -> None:
        self._length_size = length_size("h264", configuration) or 4
        self._sequences: dict[int, tuple[int, int, bool]] = {}
        self._sequence_of: dict[int, int] = {}
        self._begun: _Picture | None = None  # the picture before, if it did not complete a frame
        self._fields = True  # whether the picture before was a field
        self._first_parity: int | None = None  # of the first fields of frames
        self._wholes = self._singles = 0  # whole frames and fields before, by their headers
        self._configured: frozenset[int] = frozenset()
        for unit in _configured_units(configuration):
            self._learn(unit)
        # A packet does not change these; one that seems to is damaged.
        self._configured = frozenset(self._sequences)
        # Nearly every video declares that it has frames only: then no packet has to be read.
        self._never = bool(self._sequences) and all(frames for *_, frames in self._sequences.values())

    def __call__(self, packet: PacketData) -> bool:
        if self._never:
            return True
        begun, self._begun = self._begun, None
        picture = self._picture(bytes(packet))
        if picture is None:
            # It counts as a field if the one before was one.
            picture = _Picture(None, None if self._fields else _WHOLE_FRAME, False)
        else:
            self._fields = picture.parity != _WHOLE_FRAME
            self._singles += self._fields
            self._wholes += not self._fields
        if begun and self._completes(begun, picture):
            return False
        self._begun = picture
        return True

    def _completes(self, begun: _Picture, picture: _Picture) -> bool:
        """Whether the two pictures are the fields of one frame, even if bits of either header are damaged."""
        if self._wholes > self._singles:
            # Fields are rare here: what seems to be one may be a whole frame whose header is damaged.
            return picture.number == begun.number and {picture.parity, begun.parity} == {0, 1}
        known = self._first_parity is not None and picture.parity in (0, 1)
        if known and picture.parity != self._first_parity:
            return True
        same = picture.number == begun.number
        if begun.parity == _WHOLE_FRAME:
            # A reference and a field behind it have different numbers, so this is a field taken for a frame.
            return same and begun.is_reference and picture.parity in (0, 1)
        if begun.number is None:
            if picture.number is None and not self._singles:
                return False  # nothing says yet that there are fields
            return not known and picture.parity != _WHOLE_FRAME
        if same and picture.parity == 1 - (begun.parity or 0):
            self._first_parity = begun.parity
        if picture.parity == _WHOLE_FRAME and begun.parity == self._first_parity:
            return True
        # The first field of another frame has the next number, or begins to count anew.
        return same or picture.number not in (begun.number + 1, 0)

    def _picture(self, packet: bytes) -> _Picture | None:
        for unit in units(packet, self._length_size, 5 * _HEADER_BYTES):
            if unit[0] & 31 in _SLICES:
                return self._slice_picture(unit)
            self._learn(unit)
        return None

    def _slice_picture(self, unit: bytes) -> _Picture | None:
        """Returns the picture of a slice; None when its header is damaged."""
        bits = Bits(_unescaped(unit[1:]))
        first_block, kind, picture = bits.golomb(), bits.golomb(), bits.golomb()
        sequence = self._sequences.get(self._sequence_of.get(picture, -1))
        if sequence is None or first_block or kind > _LAST_KIND:
            return None
        number_bits, plane_bits, frames = sequence
        bits.take(plane_bits)
        number = bits.take(number_bits)
        is_idr = unit[0] & 31 == _IDR
        if is_idr and number:  # it has the number 0
            return None
        if frames or not bits.take(1):
            return _Picture(number, _WHOLE_FRAME, bool(unit[0] & _REFERENCE))
        parity = bits.take(1)
        if is_idr and self._first_parity is None:
            self._first_parity = parity
        return _Picture(number, parity, bool(unit[0] & _REFERENCE))

    def _learn(self, unit: bytes) -> None:
        kind = unit[0] & 31
        if kind == 7:
            self._learn_sequence(Bits(_unescaped(unit[1:], 4 * _HEADER_BYTES)))
        elif kind == 8:
            bits = Bits(_unescaped(unit[1:]))
            picture, sequence = bits.golomb(), bits.golomb()
            if not self._configured or picture not in self._sequence_of:
                self._sequence_of[picture] = sequence

    def _learn_sequence(self, bits: Bits) -> None:
        profile = bits.take(8)
        bits.take(16)
        number = bits.golomb()
        if number in self._configured:
            return
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


def _unescaped(data: bytes, most: int = _HEADER_BYTES) -> bytes:
    return data[:most].replace(b"\0\0\3", b"\0\0")
