"""What a model gets to see: models that give pixels of their picture back as scores."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper

from tests.support.yolo_models import (
    DARKNET,
    Load,
    Model,
    Pixel,
    Put,
    cells,
    darknet,
    detect,
    end2end,
    load,
    yolov5,
    yolov8,
    yolox,
)
from videoqueue.pipeline.plugins.yolo.letterbox import Preprocessing, letterbox
from videoqueue.pipeline.plugins.yolo.network import Network

__all__ = ["load"]

BLUE, GREEN, RED = 80, 160, 240
CENTRED = Preprocessing(center_pad=True, pad_value=114, rgb=True, scale=255)
# Wide enough to survive clipping wherever the frame stands.
EVERYWHERE = Put((1, 1, 63, 95), score=0)
SIZE = (96, 64)


def coloured(width: int, height: int) -> npt.NDArray[np.uint8]:
    return np.full((height, width, 3), (BLUE, GREEN, RED), np.uint8)


def score_of(load: Load, family: str, pixel: Pixel) -> float:
    """The confidence that a model returns if its score is the pixel (channel, row, column) of its picture."""
    encode, place = {
        "yolov8": (yolov8, (0, 4, 0)),
        "yolov5": (yolov5, (0, 0, 4)),
        "end2end": (end2end, (0, 0, 4)),
    }[family]
    plugin = load(Model(encode([EVERYWHERE]), seen={place: pixel}))
    return float(detect(plugin, coloured(128, 96))[0]["confidence"])


@pytest.mark.parametrize("family", ["yolov8", "yolov5", "end2end"])
@pytest.mark.parametrize(
    ("pixel", "value"),
    [
        ((0, 48, 32), RED),
        ((1, 48, 32), GREEN),
        ((2, 48, 32), BLUE),
        ((0, 24, 0), RED),
        ((0, 71, 63), RED),
        ((0, 23, 32), 114),
        ((2, 72, 32), 114),
    ],
)
def test_most_families_see_red_first_in_0_to_1_with_grey_above_and_below(
    load: Load, family: str, pixel: Pixel, value: int
) -> None:
    assert score_of(load, family, pixel) == round(value / 255, 4)


@pytest.mark.parametrize(
    ("pixel", "value"),
    [((0, 0, 0), BLUE), ((1, 24, 32), GREEN), ((2, 47, 63), RED), ((0, 48, 32), 114), ((2, 95, 0), 114)],
)
def test_yolox_sees_blue_first_in_0_to_255_at_the_top(load: Load, pixel: Pixel, value: int) -> None:
    (output,) = yolox([EVERYWHERE])
    at = cells(SIZE, [8]) + 3 * 4 + 2
    assert output[0, at, 5] == 1
    output[0, at, 5] = 1 / 256
    plugin = load(Model([output], seen={(0, at, 4): pixel}))

    assert detect(plugin, coloured(128, 96))[0]["confidence"] == round(value / 256, 4)


@pytest.mark.parametrize(
    ("pixel", "value"), [((0, 24, 0), RED), ((2, 48, 32), BLUE), ((1, 23, 32), 128), ((1, 72, 32), 128)]
)
def test_darknet_sees_red_first_in_0_to_1_with_its_own_grey(load: Load, pixel: Pixel, value: int) -> None:
    small, large = darknet([Put((1, 1, 62, 94), score=0.5)], stride=32)
    objectness = (0, 8 + 4, 1, 0)
    assert small[objectness] == 0

    plugin = load(Model([small, large], metadata=DARKNET, seen={objectness: pixel}))

    assert detect(plugin, coloured(128, 96))[0]["confidence"] == round(1 / (1 + np.exp(-value / 255)), 4)


def test_a_frame_is_scaled_like_opencv_does_it_and_put_in_the_middle() -> None:
    image = np.random.default_rng(0).integers(0, 256, (75, 101, 3), np.uint8)

    picture, transform = letterbox(image, (96, 64), CENTRED)

    # 64 / 101 of 75 rows are 47.5: 48 of them, and 24 of the 48 rows that are left stand above.
    expected = cv2.cvtColor(cv2.resize(image, (64, 48)), cv2.COLOR_BGR2RGB).transpose(2, 0, 1)
    assert (picture.shape, picture.dtype) == ((1, 3, 96, 64), np.dtype(np.float32))
    assert np.array_equal(picture[0, :, 24:72], expected.astype(np.float32) / np.float32(255))
    assert np.array_equal(np.unique(picture[0, :, :24]), np.array([114 / 255], np.float32))
    assert np.array_equal(np.unique(picture[0, :, 72:]), np.array([114 / 255], np.float32))
    assert (transform.left, transform.top) == (0, 24)


@pytest.mark.parametrize(
    ("width", "height", "left", "top", "scaled"),
    [
        (64, 96, 0, 0, (64, 96)),
        (32, 48, 0, 0, (64, 96)),
        (101, 96, 0, 17, (64, 61)),
        (33, 96, 15, 0, (33, 96)),
        (1, 5000, 31, 0, (1, 96)),
        (5000, 1, 0, 47, (64, 1)),
    ],
)
def test_odd_borders_have_the_lesser_half_above_and_on_the_left(
    width: int, height: int, left: int, top: int, scaled: tuple[int, int]
) -> None:
    _, transform = letterbox(coloured(width, height), (96, 64), CENTRED)

    assert (transform.left, transform.top) == (left, top)
    assert (transform.scaled_width, transform.scaled_height) == scaled


def test_the_frame_is_not_written_into() -> None:
    image = coloured(64, 96)
    image.flags.writeable = False

    picture, _ = letterbox(image, SIZE, CENTRED)

    assert (picture[0, 0] == np.float32(RED / 255)).all()


def test_a_value_of_the_picture_reaches_the_model_unchanged(load: Load) -> None:
    """Not as the bfloat16 that new processors like to compute with: 171 / 255 would be 0.6719."""
    output = end2end([EVERYWHERE])
    plugin = load(Model(output, seen={(0, 0, 4): (0, 0, 0)}))

    (found,) = detect(plugin, np.full((96, 64, 3), 171, np.uint8))

    assert found["confidence"] == 0.6706


def test_a_model_of_any_size_is_given_one_and_has_outputs_of_known_shape(tmp_path: Path) -> None:
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, "height", "width"])
    pooled = helper.make_tensor_value_info("pooled", TensorProto.FLOAT, None)
    node = helper.make_node("MaxPool", ["images"], ["pooled"], kernel_shape=[8, 8], strides=[8, 8])
    graph = helper.make_graph([node], "test", [image], [pooled])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, {"imgsz": "[96, 64]"})
    onnx.save(model, str(tmp_path / "model.onnx"))

    network = Network(tmp_path / "model.onnx", threads=1)

    assert (network.size, network.shapes) == ((96, 64), [(1, 3, 12, 8)])
    assert network.metadata == {"imgsz": "[96, 64]"}
