"""Frames on which plugins are tried. They are computed, so every run has the same ones."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class TrialFrame:
    """A frame. `image` is uint8, (height, width, 3), BGR; an `empty` one shows no object and no text."""

    name: str
    image: npt.NDArray[np.uint8]
    empty: bool = False


def trial_frames() -> list[TrialFrame]:
    """Returns frames with text, noise, a single colour, an odd size, and very few pixels."""
    noise = np.random.default_rng(seed=42).integers(0, 256, (240, 320, 3), np.uint8)
    return [
        TrialFrame("text of 640x360", _caption(640, 360, "BREAKING NEWS 42")),
        TrialFrame("noise of 320x240", noise),
        TrialFrame("grey of 320x180", np.full((180, 320, 3), 128, np.uint8), empty=True),
        TrialFrame("text of 333x241", _caption(333, 241, "Hello")),
        TrialFrame("text of 16x16", _caption(16, 16, "A")),
    ]


def _caption(width: int, height: int, text: str) -> npt.NDArray[np.uint8]:
    image = np.full((height, width, 3), (90, 60, 30), np.uint8)
    cv2.putText(
        image, text, (width // 16, height // 2), cv2.FONT_HERSHEY_SIMPLEX, width / 400, (255, 255, 255), 2
    )
    return image
