"""Outputs of a model -> boxes, scores and classes. One function for each way of writing them down.

Each takes what a network gave for one picture and the least confidence that counts (0..1). A box has the one
class that scores best in it. A score that is no number is an error: comparing it would hide the box.
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


class Candidates(NamedTuple):
    """Boxes (n, 4), x1 y1 x2 y2 in pixels of the picture; scores (n,) 0..1; classes (n,)."""

    corners: Floats
    scores: Floats
    classes: Whole


Decode = Callable[[Sequence[Array], float], Candidates]


def decode_anchor_free(output: Array, least: float) -> Candidates:
    """(4 + classes, n): centre x, centre y, width, height in pixels, and the probability of each class."""
    best = output[4:].max(axis=0)
    strong = _at_least(best, least)
    return Candidates(
        _corners(output[:4, strong].T), best[strong].astype(np.float64), output[4:, strong].argmax(axis=0)
    )


def decode_with_objectness(output: Array, least: float) -> Candidates:
    """(n, 5 + classes): centre and size in pixels, then the probability of an object, and of its classes."""
    strong, scores, classes = _with_objectness(output, least)
    return Candidates(_corners(output[strong, :4]), scores, classes)


def decode_yolox(output: Array, size: tuple[int, int], least: float) -> Candidates:
    """As `decode_with_objectness`, but centres count from a cell in cells, and sizes are logarithms.

    Cells are listed row by row, those of stride 8 first. Source: Ge et al., YOLOX, 2021, arXiv 2107.08430,
    and `yolox/utils/demo_utils.py` of its repository.
    """
    strong, scores, classes = _with_objectness(output, least)
    cells, strides = (values[strong] for values in yolox_grid(size))
    raw = output[strong, :4].astype(np.float64)
    centres, sides = (raw[:, :2] + cells) * strides, np.exp(raw[:, 2:]) * strides
    return Candidates(_corners(np.hstack([centres, sides])), scores, classes)


def yolox_grid(size: tuple[int, int]) -> tuple[Floats, Floats]:
    """Column and row (n, 2), and stride in pixels (n, 1), of every cell of a picture (height, width)."""
    cells, strides = [], []
    for stride in YOLOX_STRIDES:
        rows, columns = np.indices((size[0] // stride, size[1] // stride))
        cells.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        strides.append(np.full((rows.size, 1), stride))
    return np.concatenate(cells).astype(np.float64), np.concatenate(strides).astype(np.float64)


def decode_finished(output: Array, least: float) -> Candidates:
    """(n, 6): x1, y1, x2, y2 in pixels, score, class; a row for each object, padded with rows of score 0."""
    strong = _at_least(output[:, 4], least)
    rows = output[strong].astype(np.float64)
    return Candidates(rows[:, :4], rows[:, 4], np.rint(rows[:, 5]).astype(np.intp))


def decode_darknet(
    outputs: Sequence[Array], anchors: Sequence[Floats], size: tuple[int, int], least: float
) -> Candidates:
    """One (anchors * (5 + classes), rows, columns) for each scale, all values before their sigmoid.

    `anchors` has widths and heights (a, 2) in pixels for each output; `size` is (height, width) in pixels.
    Source: Redmon and Farhadi, YOLOv3, 2018, arXiv 1804.02767, section 2.1.
    """
    parts = [_decode_scale(*scale, size, least) for scale in zip(outputs, anchors, strict=True)]
    return Candidates(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _decode_scale(output: Array, anchors: Floats, size: tuple[int, int], least: float) -> Candidates:
    _, rows, columns = output.shape
    maps = output.reshape(len(anchors), -1, rows, columns)
    anchor, row, column = np.nonzero(_at_least(_sigmoid(maps[:, 4]), least))
    found = maps[anchor, :, row, column].astype(np.float64)
    scores, classes, sure = _best_class(_sigmoid(found[:, 4]), _sigmoid(found[:, 5:]), least)
    cells = np.stack([column, row], axis=1)
    centres = (_sigmoid(found[:, :2]) + cells) * [size[1] / columns, size[0] / rows]
    sides = np.exp(found[:, 2:4]) * anchors[anchor]
    return Candidates(_corners(np.hstack([centres, sides])[sure]), scores[sure], classes[sure])


def _with_objectness(output: Array, least: float) -> tuple[Whole, Floats, Whole]:
    """Numbers of the rows that count, with their scores and classes."""
    rows = np.nonzero(_at_least(output[:, 4], least))[0]
    found = output[rows].astype(np.float64)
    scores, classes, sure = _best_class(found[:, 4], found[:, 5:], least)
    return rows[sure], scores[sure], classes[sure]


def _best_class(
    objectness: Floats, classes: Floats, least: float
) -> tuple[Floats, Whole, npt.NDArray[np.bool_]]:
    scores = objectness * classes.max(axis=1, initial=0)
    return scores, classes.argmax(axis=1), _at_least(scores, least)


def _at_least(scores: npt.NDArray[Any], least: float) -> npt.NDArray[np.bool_]:
    if np.isnan(scores).any():
        raise PipelineError(
            "The YOLO model gave scores that are no numbers. Export it again, with 32 instead of 16 bits."
        )
    return scores >= least


def _corners(boxes: npt.NDArray[Any]) -> Floats:
    centres, half = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64) / 2
    return np.hstack([centres - half, centres + half])


def _sigmoid(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    # The usual 1 / (1 + exp(-x)) overflows for what a model is very sure of.
    return 0.5 * (1 + np.tanh(0.5 * values))
