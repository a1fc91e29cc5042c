"""The limits of decoding. Each refusal names the setting that raises the limit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from videoqueue.errors import InvalidVideoError
from videoqueue.mp4 import CheckLimits


@dataclass(frozen=True, kw_only=True)
class DecodeLimits:
    """None means no limit.

    `pixels`: width x height, of the track and of each decoded frame. `frames`: decoded frames, also those
    left out. `streams`: tracks of any kind. `decoded_share`: of the frames, from 0 to 1, must be intact.
    `accept_truncated`: of a file that is cut off in a fragment, the fragments before it are read. `check`:
    the limits of the check at submission, without its pixels; the decoder knows the true ones.
    """

    pixels: int | None = None
    frames: int | None = None
    streams: int | None = None
    decoded_share: float = 0.5
    accept_truncated: bool = False
    check: CheckLimits = field(default_factory=CheckLimits)

    def setting(self, name: str) -> str:
        """Returns the name of a setting for an error text; `name` itself when no setting is known."""
        return self.check.setting(name)

    def demuxer_options(self) -> dict[str, str]:
        """Returns the options for opening a file: FFmpeg may decode a first frame to learn the format."""
        return {"threads": "1"} | self.decoder_options()

    def decoder_options(self) -> dict[str, str]:
        """Returns the options for opening a decoder; none if the number of pixels has no limit."""
        if self.pixels is None:
            return {}
        # The decoder counts whole blocks: a frame just under the limit needs room for its padding. What this
        # lets through is looked at when it comes out.
        return {"max_pixels": str(2 * self.pixels + 256 * 256)}

    def check_size(self, what: str, width: int, height: int) -> None:
        if (refusal := self._refusal_of_size(what, width, height)) is not None:
            raise refusal

    def refusal_after_failure(self, what: str, context: Any) -> InvalidVideoError | None:
        """Returns the refusal when the decoder gave up because of the frame's size, else None."""
        if self.pixels is not None and context.width * context.height == 0:
            # FFmpeg sets the size to 0 when it refuses one.
            return _refusal(
                f"{what} has a size that is not accepted: at most {self.pixels} pixels are "
                f"({self.setting('max_pixels')}). Submit a smaller video."
            )
        return self._refusal_of_size(what, context.width, context.height)

    def _refusal_of_size(self, what: str, width: int, height: int) -> InvalidVideoError | None:
        if self.pixels is None or width * height <= self.pixels:
            return None
        return _refusal(
            f"{what} has {width}x{height} = {width * height} pixels; at most {self.pixels} are accepted "
            f"({self.setting('max_pixels')}). Submit a smaller video."
        )

    def check_frames(self, index: int) -> None:
        """Checks the index of a decoded frame.

        Raises:
            InvalidVideoError: the video has too many frames.
        """
        if self.frames is not None and index >= self.frames:
            raise _refusal(
                f"The video has more than {self.frames} frames ({self.setting('max_frames')}). "
                "Submit a part of it, or fewer frames with max_frames."
            )

    def check_streams(self, count: int) -> None:
        if self.streams is not None and count > self.streams:
            raise _refusal(
                f"The file has {count} tracks; at most {self.streams} are accepted "
                f"({self.setting('max_streams')}). Export the video alone."
            )


def _refusal(message: str) -> InvalidVideoError:
    return InvalidVideoError("limit_exceeded", message)
