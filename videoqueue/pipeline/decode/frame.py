"""A decoded frame. Its pixels are converted when they are needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from av.video.reformatter import Interpolation

from videoqueue.mp4.square import square_size
from videoqueue.pipeline.decode.errors import reading
from videoqueue.pipeline.decode.hdr import Colours, complete, to_sdr
from videoqueue.pipeline.decode.identical import is_identical
from videoqueue.pipeline.decode.rotation import apply_display_matrix, is_quarter_turn

if TYPE_CHECKING:
    import av

# The same pixels on every processor; the default takes shortcuts that depend on its instruction set.
_EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
# Values of AVColorSpace and AVColorRange that FFmpeg's scaler converts; at others it fails.
_CONVERTED_SPACES = frozenset({0, 1, 2, 4, 5, 6, 7, 9})
_CONVERTED_RANGES = frozenset({0, 1, 2})
_UNSPECIFIED_SPACE = 2
_UNSPECIFIED_RANGE = 0
# Constant luminance is shown as the plain BT.2020 that it is nearest to.
_NEAREST_SPACE = {10: 9}


@dataclass(frozen=True)
class Look:
    """How a player shows a picture.

    `matrix` is the display matrix. `pixel_aspect` is width and height of a stored pixel, None when square; it
    is applied first. `colours` are those of HDR and the like, None when converting to BGR is enough.
    """

    matrix: bytes | None = None
    pixel_aspect: tuple[int, int] | None = None
    colours: Colours | None = None

    def size_of(self, picture: av.VideoFrame) -> tuple[int, int]:
        """Returns width and height in square pixels, before the display matrix is applied."""
        aspect = self.pixel_aspect
        if aspect is None or aspect[0] == aspect[1]:
            return picture.width, picture.height
        return square_size(picture.width, picture.height, aspect)

    def upright_size_of(self, picture: av.VideoFrame) -> tuple[int, int]:
        """Returns width and height of the image in pixels, after the display matrix is applied."""
        width, height = self.size_of(picture)
        return (height, width) if is_quarter_turn(self.matrix) else (width, height)


class Frame:
    """One decoded frame; its pixels are converted by `image`.

    `index` is its rank in the video, from zero; `timestamp` is in seconds, by the clock of the container.
    """

    def __init__(
        self, index: int, timestamp: float, picture: av.VideoFrame, look: Look, threads: int
    ) -> None:
        self.index = index
        self.timestamp = timestamp
        self._picture = picture
        self._look = look
        self._threads = threads
        # Done here, because no other thread has the picture yet.
        _describe_colours(picture)

    def image(self) -> npt.NDArray[np.uint8]:
        """Returns the upright picture in square pixels: uint8, (height, width, 3), BGR, C-contiguous.

        Raises:
            InvalidVideoError: its pixels cannot be converted.
            OutOfMemoryError: an allocation failed.
        """
        with reading(f"Frame {self.index} cannot be converted"):
            return apply_display_matrix(self._bgr(), self._look.matrix)

    def is_identical(self, other: Frame) -> bool:
        """Returns True when `image()` of both returns the same pixels. False means that it is not known."""
        return self._look == other._look and is_identical(self._picture, other._picture)

    def _bgr(self) -> npt.NDArray[np.uint8]:
        width, height = self._look.size_of(self._picture)
        options: Any = {"width": width, "height": height, "interpolation": _EXACT, "threads": self._threads}
        colours = self._look.colours
        pixels: Any = self._picture.to_ndarray(format="bgr48le" if colours else "bgr24", **options)
        return to_sdr(pixels, colours) if colours else pixels


def _describe_colours(picture: av.VideoFrame) -> None:
    """Replaces colour tags that FFmpeg's scaler does not know by the nearest that it knows."""
    if picture.colorspace not in _CONVERTED_SPACES:
        picture.colorspace = _NEAREST_SPACE.get(picture.colorspace, _UNSPECIFIED_SPACE)
    if picture.color_range not in _CONVERTED_RANGES:
        picture.color_range = _UNSPECIFIED_RANGE
    complete(picture)
