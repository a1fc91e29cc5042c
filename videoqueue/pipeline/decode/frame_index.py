"""Numbers the frames of a video: a frame's index is the rank of its time among the packets of the track.

A frame that is lost leaves a gap, and the frames behind it keep their numbers. Packets that an edit list
discards are not counted. Packets in front of the first frame that comes out are not counted either: a
recording that begins in the middle of a group of pictures has some that nothing can decode.
"""

from __future__ import annotations

from bisect import bisect_left, insort


class FrameNumbers:
    """Numbers the frames of one video, each with a larger number than the one before.

    A frame whose time is missing or stands at several packets has the index after that of the frame before.
    So has every frame behind a packet without a time.
    """

    def __init__(self) -> None:
        self._times: list[int] = []  # of the packets whose rank may still be needed, sorted
        self._passed = 0  # packets whose times were dropped from the list
        self._all_timed = True
        self._first_rank: int | None = None
        #: The smallest index that the next frame may have.
        self.next = 0
        #: Packets that hold a frame.
        self.packets = 0

    @property
    def before_first(self) -> int:
        """Returns the number of packets in front of the first decoded frame; they have no index."""
        return self._first_rank or 0

    def add(self, pts: int | None) -> None:
        """Counts a packet that holds a frame, shown at `pts`. Packets come in the order of decoding."""
        self.packets += 1
        if pts is None:
            self._all_timed = False
        else:
            insort(self._times, pts)

    def number(self, pts: int | None, intact: bool) -> int | None:
        """Returns the index of the frame that is shown at `pts`.

        The frames of a video that was `intact` so far are counted. Later they are ranked: they come in order,
        and all packets that are shown before must have been added. A frame whose rank was passed already has
        no index: it is a second picture of the same packet, or too late.
        """
        rank = self._rank(pts)
        if self._first_rank is None and rank is not None:
            self._first_rank = rank - self.next
        index = self.next if intact or rank is None else rank - self.before_first
        if index < self.next:
            return None
        self.next = index + 1
        return index

    def _rank(self, pts: int | None) -> int | None:
        """Returns the rank of the packet that is shown at `pts`, or else of the one shown last before it.

        Returns None when several packets are shown at `pts`, and when times do not tell.
        """
        if pts is None or not self._all_timed:
            return None
        place = bisect_left(self._times, pts)
        found = self._times[place : place + 2]
        if found[:1] != [pts]:
            if self._first_rank is None:
                return None
            place -= 1
        if place < 0:  # its rank was passed
            return self._passed - 1
        self._passed += place
        del self._times[:place]
        return None if found == [pts, pts] else self._passed
