"""What the outputs for a grey picture show: the units of boxes, their corners, and whether scores are shares.

A model with wrong scores or class numbers is refused here, before the first job, where its outputs show it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from videoqueue.pipeline.plugins.openvino import Array
from videoqueue.pipeline.plugins.yolo.heads import ROUNDING, are_probabilities, are_whole
from videoqueue.pipeline.plugins.yolo.network import Network

#: Boxes in shares of the picture's sides may reach over its border, by up to one side.
_LARGEST_SHARE = 2.0
#: Less than a pixel in shares of the sides of any picture.
_NO_SIDE = 1e-4
#: What a box may differ from a correct one, in shares of the picture's sides.
_ROUNDING = 0.02


def output_for_grey(network: Network, index: int, value: float) -> Array:
    """Returns output `index`, without the dimension of the batch, for a picture of that value."""
    output: Array = network.run(np.full((1, 3, *network.size), value, np.float32))[index][0]
    return output


def are_empty(boxes: npt.NDArray[np.floating]) -> bool:
    """Returns whether boxes (n, 4) are all without an area, so that they show nothing."""
    return bool((np.abs(boxes) < _NO_SIDE).all())


def are_shares(boxes: npt.NDArray[np.floating]) -> bool:
    """Returns whether boxes (n, 4) are in shares of the picture's sides; boxes without an area are not."""
    return bool(not are_empty(boxes) and (np.abs(boxes) <= _LARGEST_SHARE).all())


def are_centres(boxes: Array, sides: tuple[float, float]) -> bool:
    """Returns whether boxes (n, 4) are rather centre and size than x1, y1, x2, y2.

    More of them must be impossible as corners (x2 < x1, y2 < y1) than as centre and size (a box outside of
    the picture). `sides` are width and height of the picture in the unit of the boxes.
    """
    unit = np.array(sides)
    first, second = boxes[:, :2] / unit, boxes[:, 2:4] / unit
    no_corners = second < first - _ROUNDING
    no_centres = (first - second / 2 < -_ROUNDING) | (first + second / 2 > 1 + _ROUNDING)
    return bool(no_corners.any(axis=1).sum() > no_centres.any(axis=1).sum())


def check_scores(scores: npt.NDArray[np.floating], network: Network) -> None:
    """Raises `PipelineError` if a score is not between 0 and 1, such as a logit."""
    if not are_probabilities(scores):
        raise network.error(
            f"its scores for a grey picture are from {scores.min():.3g} to {scores.max():.3g}. They must be "
            "probabilities from 0 to 1. Export it with its last sigmoid."
        )


def check_class_numbers(numbers: Array, network: Network) -> None:
    """Raises `PipelineError` if a class is not a whole number. Rows without an object may have class -1."""
    if not are_whole(numbers, ROUNDING):
        raise network.error(
            "the last of its six columns has no class numbers. Export it with the columns x1, y1, x2, y2, "
            "score, class."
        )
