"""Detects damage before the first decoded frame.

An intact recording may begin between two key frames, or with an open group of pictures. Its first frames
cannot be decoded. They are not damaged. A lost key frame is damaged, and so are the frames that depend on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from videoqueue.pipeline.decode.packet_content import Content

if TYPE_CHECKING:
    from av.index import IndexEntries


class SyncSamples:
    """The sync samples of a track: decoding can begin at each of them (`stss`, ISO/IEC 14496-12, 8.6.2).

    A track without the box `stss` declares all samples as sync samples. Many such tracks have others, so none
    counts.
    """

    def __init__(self, samples: IndexEntries) -> None:
        self._samples = samples
        self._checked = 0
        self._declared = False

    def __contains__(self, number: int) -> bool:
        while not self._declared and self._checked < len(self._samples):
            self._declared = not self._samples[self._checked].is_keyframe
            self._checked += 1
        return self._declared and number < len(self._samples) and self._samples[number].is_keyframe


class LeadingPackets:
    """Takes the packets that are sent to the decoder until it returns the first frame.

    A sync sample of H.264 may begin a gradual refresh. The decoder returns no frame for it.
    """

    def __init__(self, codec: str) -> None:
        self._sync_is_key = codec != "h264"
        self._over = False
        self._sent = 0
        self._intact: int | None = None  # packets in front of the damage; None when there is none
        self._key: tuple[int, int] | None = None  # time of the first key frame, packets in front of it

    def no_frame(self, pts: int | None, content: Content, is_sync: bool, refused: bool) -> None:
        """Notes that the decoder returned no frame for a packet.

        `is_sync`: whether it is a sync sample. `refused`: whether the decoder returned an error.
        """
        if self._over:
            return
        if content is Content.NO_FRAME or (refused and (is_sync or content is not Content.OTHER_FRAME)):
            self._damaged_behind(self._sent)
        is_key = content is Content.KEY_FRAME or (is_sync and self._sync_is_key)
        if is_key and self._key is None and pts is not None:
            self._key = pts, self._sent

    def sent(self) -> None:
        """Counts a packet that contains a frame. It is called after `no_frame` and `frame`."""
        self._sent += 1

    def frame(self, pts: int | None, intact: bool) -> None:
        """Notes a decoded frame. Frames come in the order of their times."""
        if self._over:
            return
        self._over = True
        if not intact:
            self._damaged_behind(0)
        if self._key is not None and pts is not None and pts > self._key[0]:
            self._damaged_behind(self._key[1])

    def damaged(self, before_first: int) -> int:
        """Returns how many of the `before_first` packets before the first frame are damaged."""
        return 0 if self._intact is None else max(0, before_first - self._intact)

    def _damaged_behind(self, sent: int) -> None:
        self._intact = sent if self._intact is None else min(sent, self._intact)
