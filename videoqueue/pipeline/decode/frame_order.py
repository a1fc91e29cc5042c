"""Orders the frames that a decoder returns, and detects lost frames.

The frames of an intact video keep the decoder's order, even when the file has wrong times for them. A decoder
that misses a reference may return a frame before one that is shown earlier. The frames of a damaged video are
therefore ordered by time: a frame is held back while a packet that is shown before it may still produce one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import av

# How many packets a decoder may read before it returns the frame of an earlier one. H.264 and HEVC have a
# buffer of 16 pictures. The decoders of MPEG keep the last reference until the next one comes: behind 16
# B-frames, and as many again when one is lost.
_DELAYS = {"h264": 20, "hevc": 20, "mpeg4": 40, "mpeg2video": 40}
_DELAY = 4
_KEEPING_ONE = frozenset({"mpeg4", "mpeg2video"})
# Frames are held back uncompressed.
_MOST_BYTES = 256 * 1024 * 1024
_BYTES_A_PIXEL = 3
_MOST_AWAITED = 100
# AV_PICTURE_TYPE_NONE: the grey picture that a decoder makes for a reference it does not have.
_STAND_IN = 0
_B_FRAME = 3


class FrameOrder:
    """Takes packets and frames as they pass the decoder; `damaged` says whether a frame was lost so far."""

    def __init__(self, codec: str) -> None:
        self.damaged = False
        self._delay = _DELAYS.get(codec, _DELAY)
        self._keeps_one = codec in _KEEPING_ONE
        self._sent = 0
        self._latest: int | None = None  # time of a packet
        # Whether packets are not sent in the order of their times. Then the file has times for frames that
        # the decoder has to put in order.
        self._reordered = False
        self._awaited: dict[int, int] = {}  # time at which a packet is shown: how many were sent with it
        self._held: list[av.VideoFrame] = []
        self._any_came = False
        self._last: int | None = None  # time of the last frame that was released

    def sent(self, pts: int | None) -> None:
        """Notes that a packet was sent to the decoder; its frame is shown at `pts`."""
        self._sent += 1
        if pts is not None:
            self._awaited[pts] = self._sent
            self._reordered = self._reordered or (self._latest is not None and pts < self._latest)
            self._latest = pts if self._latest is None else max(pts, self._latest)

    def failed(self, pts: int | None) -> None:
        """Notes that the decoder could not decode the packet."""
        self.damaged = True
        if pts is not None:
            self._awaited.pop(pts, None)

    def add(self, picture: av.VideoFrame) -> None:
        """Takes a picture from the decoder."""
        self.damaged = self.damaged or picture.is_corrupt
        # The frame itself may follow its stand-in, also where a recording begins between two key frames.
        if picture.pict_type == _STAND_IN and (self.damaged or not self._any_came):
            return
        if picture.pts is not None:
            sent = self._awaited.pop(picture.pts, 0)
            if self._keeps_one and picture.pict_type != _B_FRAME:
                self._give_up(sent - 1)
        self._held.append(picture)

    def released(self, next_pts: int | None) -> Iterator[av.VideoFrame]:
        """Yields the frames that need not wait; `next_pts` is the earliest time of the packets to be sent."""
        if not self._held and len(self._awaited) < _MOST_AWAITED:
            return
        self._give_up(self._sent - self._delay)
        earliest = min(self._awaited, default=None)
        if next_pts is not None and (earliest is None or next_pts < earliest):
            earliest = next_pts
        if self.damaged:
            yield from self._due(earliest)
        elif earliest is None or all(picture.pts is None or picture.pts < earliest for picture in self._held):
            yield from self._all()
        while self._is_too_much():
            # What is awaited may be lost, or come behind a frame that is shown later.
            self.damaged = self.damaged or self._reordered
            self._sort()
            yield self._first()

    def rest(self) -> Iterator[av.VideoFrame]:
        """Yields what is held, when the decoder is at its end."""
        self._give_up(self._sent)
        yield from self._due(None) if self.damaged else self._all()

    def _give_up(self, sent: int) -> None:
        """Counts packets as lost that were among the first so many.

        Packets in front of all frames do not count: nothing can decode them when a recording begins in the
        middle of a group of pictures. One that is shown behind a frame that is held does count.
        """
        lost = [pts for pts, number in self._awaited.items() if number <= sent]
        for pts in lost:
            del self._awaited[pts]
        first = min((picture.pts for picture in self._held if picture.pts is not None), default=None)
        behind = first is not None and any(pts > first for pts in lost)
        self.damaged = self.damaged or behind or (bool(lost) and self._any_came)

    def _due(self, earliest: int | None) -> Iterator[av.VideoFrame]:
        due = self._sort()
        while due and (earliest is None or due[0] < earliest):
            due.pop(0)
            yield self._first()

    def _all(self) -> Iterator[av.VideoFrame]:
        times = [self._last, *(picture.pts for picture in self._held)]
        known = [time for time in times if time is not None]
        self.damaged = self._reordered and known != sorted(known)
        self._sort()
        while self._held:
            yield self._first()

    def _sort(self) -> list[int]:
        """Puts the frames of a damaged video in the order of their times. Returns the times."""
        # A frame without a time keeps its place behind the one that came before it.
        times: list[int] = []
        for picture in self._held:
            times.append(picture.pts if picture.pts is not None else max(times, default=0))
        if self.damaged:
            order = sorted(range(len(times)), key=times.__getitem__)
            times = [times[number] for number in order]
            self._held = [self._held[number] for number in order]
        return times

    def _first(self) -> av.VideoFrame:
        self._any_came = True
        picture = self._held.pop(0)
        self._last = picture.pts
        return picture

    def _is_too_much(self) -> bool:
        if not self._held:
            return False
        size = self._held[0].width * self._held[0].height * _BYTES_A_PIXEL
        return len(self._held) > self._delay or len(self._held) * size > max(size, _MOST_BYTES)
