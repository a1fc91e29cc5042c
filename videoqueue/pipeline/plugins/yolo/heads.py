"""Decodes the outputs of a model into boxes, scores and classes; one function for each output format.

Each function takes the outputs for one picture and the lowest confidence that counts (`min_score`, 0..1). A
box has the class with the best score. A score that is NaN is an error: comparing it would hide the box.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from videoqueue.errors import PipelineError

Array = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.intp]
YOLOX_STRIDES = (8, 16, 32)
# Models that compute with 8 or 16 bits round 1 up, and class numbers up or down.
ROUNDING = 0.02


class Candidates(NamedTuple):
    """Boxes (n, 4), x1 y1 x2 y2 in pixels of the picture; scores (n,) 0..1; classes (n,)."""

    corners: Floats
    scores: Floats
    classes: Whole


#: Takes the outputs, the size (height, width) of the picture, and the lowest confidence.
Decode = Callable[[Sequence[Array], tuple[int, int], float], Candidates]


def decode_anchor_free(output: Array, min_score: float) -> Candidates:
    """Decodes (4 + classes, n): centre and size in pixels, and the probability of each class.

    Returns the boxes with at least `min_score`.
    """
    best = output[4:].max(axis=0)
    confident = _is_confident(best, min_score)
    return Candidates(
        _corners(output[:4, confident].T),
        best[confident].astype(np.float64),
        output[4:, confident].argmax(axis=0),
    )


def decode_with_objectness(output: Array, min_score: float) -> Candidates:
    """Decodes (n, 5 + classes): centre and size in pixels, probability of an object, and of each class.

    Returns the boxes with at least `min_score`.
    """
    confident, scores, classes = _with_objectness(output, min_score)
    return Candidates(_corners(output[confident, :4]), scores, classes)


def decode_yolox(output: Array, size: tuple[int, int], min_score: float) -> Candidates:
    """Decodes (n, 5 + classes) as `decode_with_objectness` does, but in the units of YOLOX.

    Centres are relative to a cell, in cells; sizes are logarithms. Cells are in row order, those of stride 8
    first. Source: Ge et al., YOLOX, 2021, arXiv 2107.08430; `yolox/utils/demo_utils.py` in its repository.

    Returns the boxes with at least `min_score`.
    """
    confident, scores, classes = _with_objectness(output, min_score)
    cells, strides = (values[confident] for values in yolox_grid(size))
    raw = output[confident, :4].astype(np.float64)
    centres, sides = (raw[:, :2] + cells) * strides, np.exp(raw[:, 2:]) * strides
    return Candidates(_corners(np.hstack([centres, sides])), scores, classes)


def yolox_grid(size: tuple[int, int]) -> tuple[Floats, Floats]:
    """Returns column and row (n, 2) and stride in pixels (n, 1) of each cell; `size` is (height, width)."""
    cells, strides = [], []
    for stride in YOLOX_STRIDES:
        rows, columns = np.indices((size[0] // stride, size[1] // stride))
        cells.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        strides.append(np.full((rows.size, 1), stride))
    return np.concatenate(cells).astype(np.float64), np.concatenate(strides).astype(np.float64)


def decode_finished(output: Array, min_score: float) -> Candidates:
    """Decodes (n, 6): x1, y1, x2, y2 in pixels, score, class; one row per object, then rows of score 0.

    Returns the boxes with at least `min_score`. Raises `PipelineError` if a class is not a whole number.
    """
    confident = _is_confident(output[:, 4], min_score)
    rows = output[confident].astype(np.float64)
    if not are_whole(rows[:, 5], ROUNDING):
        raise PipelineError(
            "The YOLO model returned class numbers that are not whole. "
            "Export it with the columns x1, y1, x2, y2, score, class."
        )
    return Candidates(rows[:, :4], rows[:, 4], np.rint(rows[:, 5]).astype(np.intp))


def decode_queries(output: Array, min_score: float) -> Candidates:
    """Decodes (n, 4 + classes): centre and size, and the probability of each class; one row per object.

    Source: Zhao et al., DETRs Beat YOLOs on Real-time Object Detection, 2023, arXiv 2304.08069.

    Returns the boxes with at least `min_score`.
    """
    return decode_anchor_free(output.T, min_score)


def decode_six_columns(output: Array, min_score: float) -> Candidates:
    """Decodes (n, 6): centre and size; then score and class, or the probabilities of two classes.

    Class numbers are whole in every row, probabilities are not.

    Returns the boxes with at least `min_score`.
    """
    if not are_whole(output[:, 5]):
        return decode_queries(output, min_score)
    found = decode_finished(output, min_score)
    return found._replace(corners=_corners(found.corners))


def in_pixels(found: Candidates, size: tuple[int, int]) -> Candidates:
    """Returns boxes in pixels for boxes in shares of the sides of a picture of `size` (height, width)."""
    return found._replace(corners=found.corners * np.array([size[1], size[0]] * 2))


def decode_darknet(
    outputs: Sequence[Array], anchors: Sequence[Floats], size: tuple[int, int], min_score: float
) -> Candidates:
    """Decodes one (anchors * (5 + classes), rows, columns) for each scale; values are before the sigmoid.

    `anchors` has widths and heights (a, 2) in pixels for each output; `size` is (height, width) in pixels.
    Source: Redmon and Farhadi, YOLOv3, 2018, arXiv 1804.02767, section 2.1.

    Returns the boxes with at least `min_score`.
    """
    parts = [_decode_scale(*scale, size, min_score) for scale in zip(outputs, anchors, strict=True)]
    return Candidates(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _decode_scale(output: Array, anchors: Floats, size: tuple[int, int], min_score: float) -> Candidates:
    _, rows, columns = output.shape
    maps = output.reshape(len(anchors), -1, rows, columns)
    anchor, row, column = np.nonzero(_is_confident(_sigmoid(maps[:, 4]), min_score))
    found = maps[anchor, :, row, column].astype(np.float64)
    scores, classes, confident = _best_class(_sigmoid(found[:, 4]), _sigmoid(found[:, 5:]), min_score)
    cells = np.stack([column, row], axis=1)
    centres = (_sigmoid(found[:, :2]) + cells) * [size[1] / columns, size[0] / rows]
    sides = np.exp(found[:, 2:4]) * anchors[anchor]
    return Candidates(_corners(np.hstack([centres, sides])[confident]), scores[confident], classes[confident])


def _with_objectness(output: Array, min_score: float) -> tuple[Whole, Floats, Whole]:
    """Returns the indices of the rows that count, with their scores and classes."""
    rows = np.nonzero(_is_confident(output[:, 4], min_score))[0]
    found = output[rows].astype(np.float64)
    scores, classes, confident = _best_class(found[:, 4], found[:, 5:], min_score)
    return rows[confident], scores[confident], classes[confident]


def _best_class(
    objectness: Floats, classes: Floats, min_score: float
) -> tuple[Floats, Whole, npt.NDArray[np.bool_]]:
    scores = objectness * classes.max(axis=1, initial=0)
    return scores, classes.argmax(axis=1), _is_confident(scores, min_score)


def are_probabilities(scores: npt.NDArray[Any]) -> bool:
    """Returns whether all scores are from 0 to 1, but for rounding. `_is_confident` reports NaN."""
    return not ((scores < -ROUNDING) | (scores > 1 + ROUNDING)).any()


def are_whole(numbers: npt.NDArray[Any], rounding: float = 0.0) -> bool:
    """Returns whether all numbers are whole, or differ by at most `rounding` from a whole number."""
    with np.errstate(invalid="ignore"):
        return bool((np.abs(numbers - np.rint(numbers)) <= rounding).all())


def _is_confident(scores: npt.NDArray[Any], min_score: float) -> npt.NDArray[np.bool_]:
    if np.isnan(scores).any():
        raise PipelineError(
            "The YOLO model returned scores that are not numbers. "
            "Export it again, with 32 instead of 16 bits."
        )
    return scores >= min_score


def _corners(boxes: npt.NDArray[Any]) -> Floats:
    centres, half = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64) / 2
    return np.hstack([centres - half, centres + half])


def _sigmoid(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    # The usual 1 / (1 + exp(-x)) overflows for values of large magnitude.
    return 0.5 * (1 + np.tanh(0.5 * values))
