"""Finds damage in front of the first frame that comes out.

An intact recording that begins between two key frames, or with an open group of pictures, begins with frames
that nothing can decode. They are no damage. A key frame that is lost is, and so is all that depends on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from videoqueue.pipeline.decode.packet_content import Content

if TYPE_CHECKING:
    from av.index import IndexEntries


class SyncSamples:
    """The samples at which decoding may begin, as the file says.

    A file that says so of all samples often just does not know (it has no box `stss`).
    """

    def __init__(self, samples: IndexEntries) -> None:
        self._samples = samples
        self._checked = 0
        self._told = False

    def __contains__(self, number: int) -> bool:
        while not self._told and self._checked < len(self._samples):
            self._told = not self._samples[self._checked].is_keyframe
            self._checked += 1
        return self._told and number < len(self._samples) and self._samples[number].is_keyframe


class Beginning:
    """Takes the packets that are sent to the decoder until the first frame comes out.

    In H.264 a sample at which decoding may begin may be one of a gradual refresh, from which no frame comes.
    """

    def __init__(self, codec: str) -> None:
        self._sync_is_key = codec != "h264"
        self._over = False
        self._sent = 0
        self._intact: int | None = None  # packets in front of the damage; None when there is none
        self._key: tuple[int, int] | None = None  # time of the first key frame, packets in front of it

    def no_frame(self, pts: int | None, content: Content, is_sync: bool, refused: bool) -> None:
        """Notes that no frame came out when a packet was sent.

        `is_sync`: whether the file says that decoding may begin here. `refused`: whether the decoder refused
        the packet.
        """
        if self._over:
            return
        if content is Content.NO_FRAME or (refused and (is_sync or content is not Content.OTHER_FRAME)):
            self._damaged_behind(self._sent)
        is_key = content is Content.KEY_FRAME or (is_sync and self._sync_is_key)
        if is_key and self._key is None and pts is not None:
            self._key = pts, self._sent

    def sent(self) -> None:
        """Counts a packet that holds a frame, after what came out of it was noted."""
        self._sent += 1

    def frame(self, pts: int | None, intact: bool) -> None:
        """Notes a frame that comes out; frames come in the order in which they are shown."""
        if self._over:
            return
        self._over = True
        if not intact:
            self._damaged_behind(0)
        if self._key is not None and pts is not None and pts > self._key[0]:
            self._damaged_behind(self._key[1])

    def damaged(self, before_first: int) -> int:
        """Returns how many of the `before_first` packets in front of the first frame are damage."""
        return 0 if self._intact is None else max(0, before_first - self._intact)

    def _damaged_behind(self, sent: int) -> None:
        self._intact = sent if self._intact is None else min(sent, self._intact)
