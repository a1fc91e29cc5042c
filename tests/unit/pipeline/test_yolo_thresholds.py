"""Which detections are reported: by thresholds of the operator, of the model, or of its family."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
    yolov5,
    yolov8,
)
from videoqueue.errors import PipelineError
from videoqueue.pipeline.plugins.yolo import DEFAULT_MODEL
from videoqueue.pipeline.plugins.yolo.network import Network

__all__ = ["load"]

BOX = (8.0, 16.0, 40.0, 80.0)
SCORES = (0.9, 0.5, 0.26, 0.24, 0.1)
# Two persons side by side: the boxes share 24 of 40 columns, 0.6 of their common area.
PAIR = [Put((4, 16, 36, 80), 0, 0.9), Put((12, 16, 44, 80), 0, 0.8)]
# As much as 0.78.
NEAR_PAIR = [Put((4, 16, 36, 80), 0, 0.9), Put((8, 16, 40, 80), 0, 0.8)]


def confidences(load: Load, metadata: dict[str, str], **options: str) -> list[float]:
    plugin = load(Model(end2end([Put(BOX, 0, score) for score in SCORES]), metadata=metadata), **options)
    return [found["confidence"] for found in detect(plugin, frame(64, 96))]


@pytest.mark.parametrize(
    ("metadata", "options", "count"),
    [
        ({}, {}, 3),
        ({"confidence": "0.5"}, {}, 2),
        ({"confidence": "0.1"}, {}, 5),
        ({}, {"confidence": "0.24"}, 4),
        ({"confidence": "0.5"}, {"confidence": "0.6"}, 1),
        ({"confidence": "0.5"}, {"confidence": "0"}, 300),
        ({"confidence": "0.1"}, {"max_detections": "2"}, 2),
    ],
)
def test_the_operators_confidence_comes_before_that_of_the_model(
    load: Load, metadata: dict[str, str], options: dict[str, str], count: int
) -> None:
    found = confidences(load, metadata, **options)

    # With a confidence of 0, rows without an object count as well; they have no box.
    assert len(found) == min(count, len(SCORES))
    assert found == sorted(SCORES, reverse=True)[: len(found)]


FAMILIES: dict[str, tuple[Callable[[Sequence[Put]], list[Array]], dict[str, str], int]] = {
    "yolov8": (yolov8, {}, 2),
    "yolov5": (yolov5, {}, 1),
    "end2end": (end2end, {}, 2),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_two_persons_side_by_side_are_one_only_for_families_before_yolov8(load: Load, family: str) -> None:
    encode, metadata, count = FAMILIES[family]

    assert len(detect(load(Model(encode(PAIR), metadata=metadata)), frame(64, 96))) == count


@pytest.mark.parametrize(
    ("metadata", "options", "count"),
    [
        ({}, {}, 1),
        ({"iou": "0.8"}, {}, 2),
        ({}, {"iou": "0.8"}, 2),
        ({"iou": "0.8"}, {"iou": "0.7"}, 1),
        ({}, {"iou": "1"}, 2),
    ],
)
def test_the_operators_overlap_comes_before_that_of_the_model(
    load: Load, metadata: dict[str, str], options: dict[str, str], count: int
) -> None:
    plugin = load(Model(yolov8(NEAR_PAIR), metadata=metadata), **options)

    assert len(detect(plugin, frame(64, 96))) == count


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"confidence": "1.01"}, r"VIDEOQUEUE_YOLO_CONFIDENCE is '1\.01': it takes a number from 0 to 1\."),
        ({"confidence": "nan"}, r"VIDEOQUEUE_YOLO_CONFIDENCE is 'nan': it takes a number from 0 to 1\."),
        ({"iou": "-0.1"}, r"VIDEOQUEUE_YOLO_IOU is '-0\.1': it takes a number from 0 to 1\."),
        ({"iou": "much"}, r"VIDEOQUEUE_YOLO_IOU is 'much': it takes a number from 0 to 1\."),
        (
            {"max_detections": "0"},
            r"VIDEOQUEUE_YOLO_MAX_DETECTIONS is '0': it takes a whole number of at least 1\.",
        ),
        (
            {"max_detections": "1.5"},
            r"VIDEOQUEUE_YOLO_MAX_DETECTIONS is '1\.5': it takes a whole number of at least 1\.",
        ),
    ],
)
def test_an_option_that_is_no_such_number_is_refused(
    load: Load, options: dict[str, str], message: str
) -> None:
    with pytest.raises(PipelineError, match=message):
        load(Model(yolov8([])), **options)


@pytest.mark.parametrize("key", ["confidence", "iou"])
@pytest.mark.parametrize("value", ["high", "2", "nan"])
def test_metadata_that_is_no_such_number_is_refused(load: Load, key: str, value: str) -> None:
    with pytest.raises(
        PipelineError, match=rf"{key} in its metadata is '{value}'\. It must be a number from 0 to 1\."
    ):
        load(Model(yolov8([]), metadata={key: value}))


def test_thresholds_are_part_of_the_version(load: Load) -> None:
    model = Model(yolov8([]))
    options: list[dict[str, str]] = [{}, {"confidence": "0.5"}, {"iou": "0.5"}, {"max_detections": "5"}]

    assert len({load(model, **chosen).manifest.version for chosen in options}) == 4


def test_the_shipped_model_has_thresholds_of_its_own() -> None:
    network = Network(DEFAULT_MODEL, threads=1)

    assert (network.number("confidence"), network.number("iou")) == (0.35, 0.6)
