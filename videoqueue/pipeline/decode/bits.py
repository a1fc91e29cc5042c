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
