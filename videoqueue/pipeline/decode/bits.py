"""Reads the headers of packets bit by bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, Union

if TYPE_CHECKING:
    import av

#: What a packet is read from.
PacketData: TypeAlias = Union["av.Packet[Any]", bytes]


class Bits:
    """Reads the first bits of a header; behind its end there are zeros."""

    def __init__(self, data: bytes) -> None:
        self._left = 8 * len(data)
        self._value = int.from_bytes(data, "big")

    def take(self, count: int) -> int:
        """Returns the next `count` bits as an unsigned number."""
        if count > self._left:
            self._value <<= count - self._left
            self._left = count
        self._left -= count
        taken = self._value >> self._left
        self._value &= (1 << self._left) - 1
        return taken

    def golomb(self) -> int:
        """Returns the next unsigned exponential Golomb code (ISO/IEC 14496-10, 9.1)."""
        zeros = self._left - self._value.bit_length()
        self.take(zeros)
        return self.take(min(zeros, 32) + 1) - 1


def leb128(data: bytes, at: int) -> tuple[int, int]:
    """Returns the number that begins at `at`, and where it ends (AV1 bitstream specification, 4.10.5)."""
    value = 0
    for place in range(8):
        byte = data[at + place] if at + place < len(data) else 0
        value |= (byte & 127) << 7 * place
        if not byte & 128:
            break
    return value, at + place + 1
