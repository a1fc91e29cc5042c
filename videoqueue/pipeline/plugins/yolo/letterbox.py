"""Puts a frame into the fixed picture that a model takes, and boxes back into the frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Frame = npt.NDArray[np.uint8]
Array = npt.NDArray[np.float32]
Boxes = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Preparation:
    """What a family of models is trained with.

    `grey` (0..255) fills the borders; `centred` puts the frame in the middle, else it stands top left; `rgb`
    swaps the channels; all values are divided by `divisor`.
    """

    centred: bool
    grey: int
    rgb: bool
    divisor: float


@dataclass(frozen=True)
class Placement:
    """Where the frame stands in the picture; all but the frame's own size is in pixels of the picture."""

    left: int
    top: int
    scaled_width: int
    scaled_height: int
    frame_width: int
    frame_height: int

    def to_frame(self, corners: Boxes) -> npt.NDArray[np.int64]:
        """Boxes (n, 4) x1 y1 x2 y2 of the picture as the nearest whole pixels of the frame, clipped to it."""
        across, down = self.frame_width / self.scaled_width, self.frame_height / self.scaled_height
        moved = (corners - np.array([self.left, self.top] * 2)) * np.array([across, down] * 2)
        limits = np.array([self.frame_width, self.frame_height] * 2)
        pixels: npt.NDArray[np.int64] = np.rint(np.clip(moved, 0, limits)).astype(np.int64)
        return pixels


def prepare(frame: Frame, size: tuple[int, int], preparation: Preparation) -> tuple[Array, Placement]:
    """Scales a BGR frame into a picture of `size` (height, width), keeping its proportions.

    Returns the picture, float32 (1, 3, height, width), and where in it the frame stands.
    """
    placement = _place(frame.shape[1], frame.shape[0], size, preparation.centred)
    scaled_size = (placement.scaled_width, placement.scaled_height)
    canvas = np.full((*size, 3), preparation.grey, np.uint8)
    rows = slice(placement.top, placement.top + placement.scaled_height)
    columns = slice(placement.left, placement.left + placement.scaled_width)
    canvas[rows, columns] = cv2.resize(frame, scaled_size, interpolation=cv2.INTER_LINEAR)
    picture = np.empty((1, 3, *size), np.float32)
    channels = cv2.split(canvas)
    for target, channel in zip(picture[0], reversed(channels) if preparation.rgb else channels, strict=True):
        np.divide(channel, preparation.divisor, out=target, dtype=np.float32)
    return picture, placement


def _place(width: int, height: int, size: tuple[int, int], centred: bool) -> Placement:
    ratio = min(size[0] / height, size[1] / width)
    # A frame far wider than high would vanish.
    scaled_width, scaled_height = max(1, round(width * ratio)), max(1, round(height * ratio))
    left = (size[1] - scaled_width) // 2 if centred else 0
    top = (size[0] - scaled_height) // 2 if centred else 0
    return Placement(left, top, scaled_width, scaled_height, width, height)
