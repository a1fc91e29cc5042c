"""Counts the frames that a damaged video has lost, and decides whether enough are left."""

from __future__ import annotations

from typing import NoReturn

from videoqueue.errors import InvalidVideoError, NoFrameError
from videoqueue.pipeline.decode.frame_index import FrameNumbers
from videoqueue.pipeline.decode.leading_packets import LeadingPackets
from videoqueue.pipeline.decode.limits import DecodeLimits


class Damage:
    """What was decoded of a video, and what could not be.

    `leading`: the packets before the first decoded frame. `limits`: the share of frames that must be intact.
    """

    def __init__(self, numbers: FrameNumbers, leading: LeadingPackets, limits: DecodeLimits) -> None:
        #: How many frames are read; None means all.
        self.wanted: int | None = None
        self._numbers = numbers
        self._limits = limits
        self._leading = leading
        self._came_out = self._intact = 0
        self._refusal: InvalidVideoError | None = None

    def refused(self, refusal: InvalidVideoError | None) -> None:
        """Notes a packet that the decoder refused; `refusal` says why, when it may be other than damage."""
        self._refusal = self._refusal or refusal

    def frame(self, pts: int | None, intact: bool) -> None:
        """Counts a frame that came out; it is not `intact` when the decoder marks it corrupt."""
        self._leading.frame(pts, intact)
        self._came_out += 1
        self._intact += intact

    @property
    def frames(self) -> int:
        """Returns the number of frames, up to the last wanted one, without an intact picture.

        Frames before the first decoded one count only from the first damaged packet on: an intact recording
        may begin with frames that nothing can decode.
        """
        return max(0, self._expected - self._intact)

    @property
    def _expected(self) -> int:
        leading = self._numbers.before_first
        indexed = self._numbers.packets - leading
        if self.wanted is not None:
            indexed = min(indexed, self.wanted)
        return indexed + self._leading.damaged(leading)

    def check(self, no_frame: str) -> None:
        """Decides, when the last wanted frame was decoded, whether the video is good enough.

        Raises:
            NoFrameError: the track has no packet; the text is `no_frame`.
            InvalidVideoError: fewer frames are intact than must be: `video_damaged`, or what the first packet
                that failed was refused for.
        """
        if not self._numbers.packets and not self._came_out:
            raise NoFrameError("unsupported_video", no_frame)
        if not self._intact:
            self._refuse(
                f"Its {self._expected} frames cannot be decoded: the data is damaged or encrypted "
                "(DRM). Submit an intact copy without protection."
            )
        share = self._limits.decoded_share
        if self._intact < share * self._expected:
            self._refuse(
                f"Only {self._intact} of its {self._expected} frames can be decoded; at least "
                f"{share:.0%} must be ({self._limits.setting('min_decoded_share')}). Submit an intact copy."
            )

    def _refuse(self, how: str) -> NoReturn:
        raise self._refusal or InvalidVideoError("video_damaged", f"The video is damaged. {how}")
