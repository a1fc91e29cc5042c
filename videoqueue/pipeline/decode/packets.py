"""Reads the packets of a track ahead of the decoder, so that a frame's rank among them is known."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

from videoqueue.pipeline.decode.coded_frames import HoldsFrame
from videoqueue.pipeline.decode.frame_index import FrameNumbers

if TYPE_CHECKING:
    import av
    import av.video.stream

    Packet: TypeAlias = av.Packet[av.video.stream.VideoStream]

# `dts` <= `pts` holds in proper files, so few packets are read ahead. The limits are for other files.
_MOST_PACKETS = 64
_MOST_BYTES = 64 * 1024 * 1024


class PacketReader:
    """The packets of one track in the order of decoding.

    Those that hold a frame are counted in `numbers` when they are read; packets that an edit list discards
    hold none.
    """

    def __init__(self, packets: Iterator[Packet], holds_frame: HoldsFrame, numbers: FrameNumbers) -> None:
        self._packets = packets
        self._holds_frame = holds_frame
        self._numbers = numbers
        self._ahead: deque[tuple[Packet, bool]] = deque()
        self._bytes = 0
        self._latest: int | None = None
        self._ended = False
        self._error: Exception | None = None
        #: Whether the last packet that `next` returned was counted.
        self.counted = False
        #: How many packets of the track are in front of it.
        self.number = -1

    def next(self) -> Packet | None:
        """Returns the next packet; None behind the last. Raises what the demuxer raises there."""
        if not self._ahead:
            self._read()
        if not self._ahead:
            if self._error is not None:
                raise self._error
            return None
        packet, self.counted = self._ahead.popleft()
        self.number += 1
        self._bytes -= packet.size
        return packet

    @property
    def next_pts(self) -> int | None:
        """Returns the earliest time, in ticks, of the packets that were read ahead; None if unknown."""
        if not self._ahead:
            return None
        times = (packet.pts for packet, counted in self._ahead if counted and packet.pts is not None)
        return min(times, default=None)

    def read_until(self, pts: int | None) -> None:
        """Reads ahead until no packet can follow that is shown before `pts`."""
        while (
            pts is not None
            and not self._ended
            and (self._latest is None or self._latest < pts)
            and len(self._ahead) < _MOST_PACKETS
            and self._bytes < _MOST_BYTES
        ):
            self._read()

    def _read(self) -> None:
        if self._ended:
            return
        try:
            packet = next(self._packets, None)
        except Exception as error:  # noqa: BLE001 - raised when the decoder gets there
            self._error = error
            packet = None
        if packet is None:
            self._ended = True
            return
        holds_frame = bool(packet.size) and self._holds_frame(packet)
        counted = holds_frame and not packet.is_discard
        self._ahead.append((packet, counted))
        self._bytes += packet.size
        if packet.dts is not None:
            self._latest = packet.dts
        if counted:
            self._numbers.add(packet.pts)
