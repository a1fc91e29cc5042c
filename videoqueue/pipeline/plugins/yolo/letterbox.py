"""Letterboxing: fits a frame into the picture size of a model, and maps boxes back to the frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Array = npt.NDArray[np.float32]
Boxes = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Preprocessing:
    """How a family of models expects its pictures.

    Attributes:
        center_pad: Whether the padding is on both sides; otherwise it is at the right and the bottom.
        pad_value: The value of the padding, 0..255.
        rgb: Whether the channels are in the order RGB; otherwise BGR.
        scale: All values are divided by it.
        stretch: Whether the frame fills the picture, whatever its aspect ratio; then there is no padding.
    """

    center_pad: bool
    pad_value: int
    rgb: bool
    scale: float
    stretch: bool = False


@dataclass(frozen=True)
class LetterboxTransform:
    """The place of the frame in the picture, in pixels of the picture, and the size of the frame."""

    left: int
    top: int
    scaled_width: int
    scaled_height: int
    frame_width: int
    frame_height: int

    def to_frame(self, corners: Boxes) -> npt.NDArray[np.int64]:
        """Maps boxes (n, 4), x1 y1 x2 y2, from the picture to the frame.

        Returns:
            The boxes in whole pixels of the frame, rounded and clipped to it.
        """
        across, down = self.frame_width / self.scaled_width, self.frame_height / self.scaled_height
        moved = (corners - np.array([self.left, self.top] * 2)) * np.array([across, down] * 2)
        limits = np.array([self.frame_width, self.frame_height] * 2)
        pixels: npt.NDArray[np.int64] = np.rint(np.clip(moved, 0, limits)).astype(np.int64)
        return pixels


def letterbox(
    frame: Image, size: tuple[int, int], preprocessing: Preprocessing
) -> tuple[Array, LetterboxTransform]:
    """Scales a BGR frame to fit a picture of `size` (height, width).

    Returns:
        The picture, float32 (1, 3, height, width), and the place of the frame in it.
    """
    transform = _transform(frame.shape[1], frame.shape[0], size, preprocessing)
    scaled_size = (transform.scaled_width, transform.scaled_height)
    canvas = np.full((*size, 3), preprocessing.pad_value, np.uint8)
    rows = slice(transform.top, transform.top + transform.scaled_height)
    columns = slice(transform.left, transform.left + transform.scaled_width)
    canvas[rows, columns] = cv2.resize(frame, scaled_size, interpolation=cv2.INTER_LINEAR)
    picture = np.empty((1, 3, *size), np.float32)
    channels = cv2.split(canvas)
    for target, channel in zip(
        picture[0], reversed(channels) if preprocessing.rgb else channels, strict=True
    ):
        np.divide(channel, preprocessing.scale, out=target, dtype=np.float32)
    return picture, transform


def _transform(
    width: int, height: int, size: tuple[int, int], preprocessing: Preprocessing
) -> LetterboxTransform:
    if preprocessing.stretch:
        return LetterboxTransform(0, 0, size[1], size[0], width, height)
    ratio = min(size[0] / height, size[1] / width)
    # A side of a very wide or very high frame would become 0.
    scaled_width, scaled_height = max(1, round(width * ratio)), max(1, round(height * ratio))
    left = (size[1] - scaled_width) // 2 if preprocessing.center_pad else 0
    top = (size[0] - scaled_height) // 2 if preprocessing.center_pad else 0
    return LetterboxTransform(left, top, scaled_width, scaled_height, width, height)
