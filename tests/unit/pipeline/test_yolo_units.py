"""Exports whose numbers mean something else: logits, corners instead of centres, shares instead of pixels."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.yolo_models import (
    Array,
    Load,
    Model,
    Put,
    detect,
    end2end,
    frame,
    load,
    rtdetr,
    rtdetr_best,
    yolov5,
    yolov8,
    yolox,
)
from videoqueue.errors import PipelineError

__all__ = ["load"]

SIDES = np.array([64, 96, 64, 96], np.float32)
HELMET, VEST = Put((16, 24, 32, 72), 0, 0.9), Put((6, 48, 32, 88), 1, 0.8)
FOUND = [
    {"label": "a", "confidence": 0.9, "box": [16, 24, 32, 72]},
    {"label": "b", "confidence": 0.8, "box": [6, 48, 32, 88]},
]


def times(output: Array, factor: Array) -> Array:
    """The output with its boxes multiplied."""
    return np.concatenate([output[..., :4] * factor, output[..., 4:]], axis=2)


def logits(probabilities: Array) -> Array:
    inner = probabilities.clip(0.001, 0.999)
    return np.asarray(np.log(inner / (1 - inner)), np.float32)


def with_logits(output: Array, first: int = 4) -> Array:
    return np.concatenate([output[..., :first], logits(output[..., first:])], axis=2)


def corners(output: Array) -> Array:
    half = output[..., 2:4] / 2
    return np.concatenate([output[..., :2] - half, output[..., :2] + half, output[..., 4:]], axis=2)


LOGITS: dict[str, Array] = {
    "rtdetr": with_logits(rtdetr([HELMET, VEST])[0]),
    "rtdetr of two classes": with_logits(rtdetr([HELMET, VEST], classes=2)[0]),
    "rtdetr, best class": with_logits(rtdetr_best([HELMET, VEST])[0][..., :5], 4),
    "end2end": np.concatenate(
        [with_logits(end2end([HELMET, VEST])[0][..., :5]), np.zeros((1, 300, 1))], axis=2
    ),
    "yolov8": with_logits(yolov8([HELMET, VEST])[0].swapaxes(1, 2)).swapaxes(1, 2),
    "yolov5": with_logits(yolov5([HELMET, VEST])[0]),
    "yolox": with_logits(yolox([HELMET, VEST])[0]),
}


@pytest.mark.parametrize("case", LOGITS)
def test_scores_before_the_sigmoid_are_refused(load: Load, case: str) -> None:
    names = ["a"] if LOGITS[case].shape[2] == 5 else ["a", "b", "c"][: LOGITS[case].shape[1]]
    names = ["a", "b"] if case == "rtdetr of two classes" else names

    with pytest.raises(
        PipelineError, match=r"scores for a grey picture are from .* Export it with its last sig"
    ):
        load(Model([LOGITS[case].astype(np.float32)], names=names))


def test_a_score_over_one_that_a_grey_picture_does_not_show_fails_the_frame(load: Load) -> None:
    output = end2end([Put((8, 16, 40, 80), score=0.4)])
    plugin = load(Model(output, seen={(0, 0, 4): (0, 48, 32)}))
    grey, white = (np.full((96, 64, 3), value, np.uint8) for value in (114, 255))

    assert detect(plugin, grey)[0]["confidence"] == 0.8471
    with pytest.raises(
        PipelineError, match=r"returned the score 1\.4\. Scores must be probabilities from 0 to 1"
    ):
        detect(plugin, white)


def test_a_score_that_rounding_lifts_over_one_is_one(load: Load) -> None:
    (found,) = detect(load(Model(end2end([Put((8, 16, 40, 80), score=1.0039)]))), frame(64, 96))

    assert found["confidence"] == 1.0


def test_class_and_score_in_the_wrong_order_are_refused(load: Load) -> None:
    output = end2end([Put((8, 16, 40, 80), 1)])[0][..., [0, 1, 2, 3, 5, 4]]

    with pytest.raises(PipelineError, match="last of its six columns has no class numbers"):
        load(Model([output]))


def test_a_class_that_is_not_whole_fails_the_frame(load: Load) -> None:
    (output,) = end2end([Put((8, 16, 40, 80))])
    output[0, 0, 5] = 1 - 114 / 255
    plugin = load(Model([output], seen={(0, 0, 5): (0, 48, 32)}))

    with pytest.raises(PipelineError, match="class numbers that are not whole"):
        detect(plugin, np.full((96, 64, 3), 128, np.uint8))


def test_small_probabilities_of_a_second_class_are_no_class_numbers(load: Load) -> None:
    output = rtdetr([], classes=2)[0]
    output[..., 4:] = 0.001
    output[0, 0] = [0.375, 0.5, 0.25, 0.5, 0.001, 0.002]
    plugin = load(Model([output], names=["a", "b"], seen={(0, 0, 5): (0, 48, 32)}))

    (found,) = detect(plugin, np.full((96, 64, 3), 204, np.uint8))

    assert (found["label"], found["confidence"]) == ("b", 0.802)


def test_a_second_class_that_a_grey_picture_does_not_show_is_found_in_a_frame(load: Load) -> None:
    """Probabilities of zero may also be the numbers of the first class: each frame is looked at."""
    output = rtdetr([HELMET], classes=2)[0]
    output[..., 5] = 0
    black = load(Model([output], names=["a", "b"], seen={(0, 1, 5): (0, 48, 32)}))
    black_frame, bright = (np.full((96, 64, 3), value, np.uint8) for value in (0, 204))

    assert [found["label"] for found in detect(black, black_frame)] == ["a"]
    assert [found["label"] for found in detect(black, bright)] == ["a", "b"]


def test_boxes_of_final_corners_may_reach_over_the_border_in_shares(load: Load) -> None:
    output = times(end2end([Put((-3, 16, 40, 99), 1)])[0], np.float32(1) / SIDES)

    with pytest.raises(PipelineError, match=r"between 0 and 1, and may be corners .* to end2end for corners"):
        load(Model([output]))
    (found,) = detect(load(Model([output]), family="end2end"), frame(64, 96))
    assert (found["label"], found["box"]) == ("b", [0, 16, 40, 96])


def test_final_boxes_with_centre_and_size_in_pixels_are_refused_or_read_as_the_operator_says(
    load: Load,
) -> None:
    output = times(rtdetr_best([HELMET, VEST])[0], SIDES)

    with pytest.raises(
        PipelineError, match=r"seem to be centre and size in pixels, .* to rtdetr if they are"
    ):
        load(Model([output]))
    assert detect(load(Model([output]), family="rtdetr"), frame(64, 96)) == FOUND


def test_queries_in_pixels_are_refused_or_read_as_the_operator_says(load: Load) -> None:
    output = times(rtdetr([HELMET, VEST])[0], SIDES)

    with pytest.raises(
        PipelineError, match=r"without boxes between 0 and 1\. .* VIDEOQUEUE_YOLO_FAMILY; rtdetr"
    ):
        load(Model([output]))
    assert detect(load(Model([output]), family="rtdetr"), frame(64, 96)) == FOUND


def test_corners_with_a_score_for_each_class_are_refused(load: Load) -> None:
    output = corners(rtdetr([Put((16, 24, 60, 90))])[0])
    output[0, 1:, :4] = 0

    with pytest.raises(PipelineError, match="Corners with a score for each class are not supported"):
        load(Model([output]))


def test_boxes_that_are_hardly_negative_are_still_corners(load: Load) -> None:
    """Models without a distribution of distances return x2 < x1 for places without an object."""
    (output,) = end2end([Put((8, 16, 40, 80), 1)])
    output[0, 1:40] = [50, 60, 48, 58, 0.01, 0]
    output[0, 40:80] = [40, 60, 60, 90, 0.01, 0]

    (found,) = detect(load(Model([output])), frame(64, 96))

    assert (found["label"], found["box"]) == ("b", [8, 16, 40, 80])


def test_boxes_and_scores_in_two_outputs_are_refused(load: Load) -> None:
    output = rtdetr([HELMET])[0]

    with pytest.raises(PipelineError, match=r"are \(1, 300, 4\), \(1, 300, 3\)\. .* with a single output"):
        load(Model([output[..., :4], output[..., 4:]]))


WHITE = np.full((96, 64, 3), 255, np.uint8)


def grey_without_boxes(far: float) -> Model:
    """All boxes are 0 for a grey picture; in a white one the third and fourth column of a row are `far`."""
    (output,) = end2end([Put((0, 0, 0, 0), 1)])
    gain = np.float32(far / (1 - 114 / 255))
    output[0, 0, 2:4] = -gain * np.float32(114 / 255)
    return Model([output], seen={(0, 0, 2): (0, 48, 32), (0, 0, 3): (0, 48, 32)}, gain=float(gain))


def test_shares_that_a_grey_picture_does_not_show_fail_the_frame(load: Load) -> None:
    plugin = load(grey_without_boxes(0.5))

    with pytest.raises(
        PipelineError, match=r"boxes between 0 and 1\. .* VIDEOQUEUE_YOLO_FAMILY to end2end for"
    ):
        detect(plugin, WHITE)


@pytest.mark.parametrize(
    ("far", "family", "box"),
    [
        (40, "", [0, 0, 40, 40]),
        (40, "end2end", [0, 0, 40, 40]),
        (0.5, "end2end", [0, 0, 32, 48]),
        (40, "rtdetr", [0, 0, 20, 20]),
        (0.5, "rtdetr", [0, 0, 16, 24]),
    ],
)
def test_a_frame_shows_the_unit_of_boxes_if_a_grey_picture_does_not(
    load: Load, far: float, family: str, box: list[int]
) -> None:
    (found,) = detect(load(grey_without_boxes(far), family=family), WHITE)

    assert (found["label"], found["box"]) == ("b", box)


def test_queries_without_boxes_in_a_grey_picture_are_read_as_the_operator_says(load: Load) -> None:
    (output,) = rtdetr([HELMET])
    output[..., :4] = 0

    with pytest.raises(PipelineError, match="without boxes between 0 and 1"):
        load(Model([output]))
    assert detect(load(Model([output]), family="rtdetr"), frame(64, 96)) == []
