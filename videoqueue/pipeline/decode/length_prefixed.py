"""Finds the units of H.264 and HEVC packets in MP4: each has its length in front (ISO/IEC 14496-15)."""

from __future__ import annotations

from collections.abc import Iterator


def length_size(codec: str, configuration: bytes) -> int | None:
    """Returns the number of bytes of a length; None when `configuration` is no `avcC` or `hvcC`."""
    at = {"h264": 4, "hevc": 21}.get(codec)
    if at is None or len(configuration) <= at or configuration[0] != 1:
        return None
    return (configuration[at] & 3) + 1


def units(packet: bytes, length: int, most: int) -> Iterator[bytes]:
    """Yields the first `most` bytes of each unit; `length` is the number of bytes of a length."""
    at = 0
    while at + length < len(packet):
        size = int.from_bytes(packet[at : at + length], "big")
        at += length
        if size:
            yield packet[at : at + min(size, most)]
        at += size


def first_bytes_of_units(packet: bytes, length: int) -> Iterator[int]:
    """Yields the first byte of each unit, which says its type."""
    return (unit[0] for unit in units(packet, length, 1))
