from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.support.yolo_models import (
    DARKNET,
    Array,
    Load,
    Model,
    Put,
    Size,
    cells,
    darknet,
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
from videoqueue.pipeline.plugin import PluginOptions
from videoqueue.pipeline.plugins.yolo import create

__all__ = ["load"]

ULTRALYTICS = {"task": "detect", "stride": "32"}
LAYOUTS: dict[str, tuple[Callable[..., list[Array]], Mapping[str, str]]] = {
    "yolov8": (yolov8, ULTRALYTICS),
    "yolov8 without metadata": (yolov8, {}),
    "yolov5": (yolov5, {"stride": "32"}),
    "yolov7": (yolov5, {}),
    "end2end": (end2end, ULTRALYTICS),
    "yolox": (yolox, {}),
    "darknet": (darknet, DARKNET),
}
layouts = pytest.mark.parametrize("layout", LAYOUTS)


def placed(box: list[int], width: int, height: int, size: Size, corner: bool) -> Put:
    """A box of a frame as the model has to see it: scaled as the frame is, and moved to where it stands."""
    ratio = min(size[0] / height, size[1] / width)
    across, down = round(width * ratio), round(height * ratio)
    left, top = (0, 0) if corner else ((size[1] - across) // 2, (size[0] - down) // 2)
    x1, x2 = (left + x * across / width for x in box[::2])
    y1, y2 = (top + y * down / height for y in box[1::2])
    return Put((x1, y1, x2, y2), number=1, score=0.875)


@pytest.mark.parametrize(
    "shape", [(640, 480), (641, 359), (270, 481), (1280, 720), (50, 37), (64, 96), (7, 900)]
)
@layouts
def test_the_box_put_into_an_output_comes_out_to_the_pixel(
    load: Load, layout: str, shape: tuple[int, int]
) -> None:
    encode, metadata = LAYOUTS[layout]
    width, height = shape
    box = [width // 5, height // 3, width - 2, height - height // 4]
    put = placed(box, width, height, (96, 64), corner=layout == "yolox")

    plugin = load(Model(encode([put]), metadata=metadata))

    assert detect(plugin, frame(width, height)) == [{"label": "b", "confidence": 0.875, "box": box}]


@pytest.mark.parametrize(("size", "batch"), [(None, 1), ((96, 64), None), (None, None)])
@layouts
def test_any_size_and_any_number_of_pictures_are_fixed_to_one(
    load: Load, layout: str, size: Size | None, batch: int | None
) -> None:
    encode, metadata = LAYOUTS[layout]
    put = placed([100, 50, 400, 300], 640, 480, (96, 64), corner=layout == "yolox")

    plugin = load(Model(encode([put]), size, metadata={**metadata, "imgsz": "[96, 64]"}, batch=batch))

    (found,) = detect(plugin, frame(640, 480))
    assert (found["label"], found["box"]) == ("b", [100, 50, 400, 300])


def test_a_model_of_any_size_that_names_none_gets_640_pixels(load: Load) -> None:
    put = Put((100, 200, 300, 400), 2)

    plugin = load(Model(yolov8([put], (640, 640)), size=None))

    assert detect(plugin, frame(640, 640)) == [{"label": "c", "confidence": 0.9, "box": [100, 200, 300, 400]}]


@layouts
def test_sixteen_bits_are_read_like_thirty_two(load: Load, layout: str) -> None:
    encode, metadata = LAYOUTS[layout]

    plugin = load(Model(encode([Put((8, 16, 42, 84), 2, 0.75)]), metadata=metadata, kind=np.float16))

    (found,) = detect(plugin, frame(64, 96))
    assert (found["label"], found["box"], round(found["confidence"], 2)) == ("c", [8, 16, 42, 84], 0.75)


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_yolox_cells_of_every_stride_are_found(load: Load, stride: int) -> None:
    boxes = [(4.0, 70.0, 30.0, 94.0), (33.0, 2.0, 63.0, 30.0)]

    plugin = load(Model(yolox([Put(box) for box in boxes], stride=stride)))

    assert [found["box"] for found in detect(plugin, frame(64, 96))] == [list(map(int, box)) for box in boxes]


@pytest.mark.parametrize("stride", [16, 32])
@pytest.mark.parametrize("anchor", [0, 1, 2])
def test_darknet_heads_use_their_own_anchors(load: Load, stride: int, anchor: int) -> None:
    output = darknet([Put((4, 70, 31, 94), score=0.6)], stride=stride, anchor=anchor)

    plugin = load(Model(output, metadata=DARKNET))

    assert detect(plugin, frame(64, 96)) == [{"label": "a", "confidence": 0.6, "box": [4, 70, 31, 94]}]


@pytest.mark.parametrize("strides", [(16, 32), (8, 16, 32, 64), (4, 8, 16, 32)])
def test_grids_of_tiny_models_and_of_those_for_large_pictures_are_known(
    load: Load, strides: tuple[int, ...]
) -> None:
    size = (128, 192)
    anchor_free = np.zeros((1, 7, cells(size, strides)), np.float32)
    anchor_free[0, :, 0] = [50, 40, 20, 10, 0, 0.5, 0]

    free = load(Model([anchor_free], size))
    with_anchors = load(
        Model(yolov5([Put((40, 35, 60, 45), 1, 0.5)], size, rows=3 * cells(size, strides)), size)
    )

    expected = [{"label": "b", "confidence": 0.5, "box": [40, 35, 60, 45]}]
    assert (detect(free, frame(192, 128)), detect(with_anchors, frame(192, 128))) == (expected, expected)


def test_raw_heads_beside_the_boxes_of_yolov7_are_ignored(load: Load) -> None:
    raw = [np.ones((1, 3, 96 // stride, 64 // stride, 8), np.float32) for stride in (8, 16, 32)]

    plugin = load(Model([*yolov5([Put((8, 16, 40, 80))]), *raw]))

    assert [found["box"] for found in detect(plugin, frame(64, 96))] == [[8, 16, 40, 80]]


def test_six_columns_are_one_class_with_objectness_if_there_are_three_rows_a_cell(load: Load) -> None:
    output = yolov5([Put((8, 16, 40, 80), score=0.5)], classes=1)

    plugin = load(Model(output, names=["a"]))

    assert detect(plugin, frame(64, 96)) == [{"label": "a", "confidence": 0.5, "box": [8, 16, 40, 80]}]


def test_a_model_that_only_says_to_take_any_size_is_refused(tmp_path: Path) -> None:
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, "height", "width"])
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 300, 6])
    shape = numpy_helper.from_array(np.array([1, 300, 6]), "shape")
    node = helper.make_node("Reshape", ["images", "shape"], ["output"])
    graph = helper.make_graph([node], "test", [image], [output], [shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(tmp_path / "model.onnx"))

    with pytest.raises(
        PipelineError, match=r"cannot take a picture of 640 x 640\. Export it with a fixed size"
    ):
        create(PluginOptions(values={"yolo.model": str(tmp_path / "model.onnx")}))


def decoded(objectness: float) -> list[Array]:
    """One box for every cell, with its centre in pixels; the first one has an object of class b."""
    (output,) = yolov5([Put((8, 16, 40, 80), 1)], rows=cells((96, 64)))
    output[0, 1:, :2] = np.linspace(4, 90, cells((96, 64)) - 1)[:, None]
    output[0, :, 4] = objectness
    output[0, 0, 6] = 0.5 / objectness
    return [output]


@pytest.mark.parametrize(("objectness", "box"), [(1, [16, 0, 80, 96]), (0.8, [16, 32, 80, 96])])
def test_centres_in_pixels_are_yolov6_if_every_cell_is_sure_and_else_yolox(
    load: Load, objectness: float, box: list[int]
) -> None:
    """The frame stands in the middle of YOLOv6's picture, from row 24 on, and at the top of that of YOLOX."""
    plugin = load(Model(decoded(objectness)))

    assert detect(plugin, frame(128, 96)) == [{"label": "b", "confidence": 0.5, "box": box}]


HELMET, VEST = Put((16, 24, 32, 72), 0, 0.9), Put((6, 4.8, 32, 43.2), 1, 0.8)
QUERIES: dict[str, tuple[Model, int]] = {
    "one class": (Model(rtdetr([HELMET], classes=1), names=["a"]), 1),
    "two classes": (Model(rtdetr([HELMET, VEST], classes=2), names=["a", "b"], metadata=ULTRALYTICS), 2),
    "three classes": (Model(rtdetr([HELMET, VEST])), 2),
    "best class": (Model(rtdetr_best([HELMET, VEST]), metadata=ULTRALYTICS), 2),
    "best of two classes": (Model(rtdetr_best([HELMET, VEST]), names=["a", "b"]), 2),
}


@pytest.mark.parametrize("case", QUERIES)
def test_boxes_of_rtdetr_are_read_as_shares_of_a_stretched_picture(load: Load, case: str) -> None:
    """The frame is twice as wide as the picture, and as high: no part of the picture is padding."""
    model, count = QUERIES[case]
    expected = [
        {"label": "a", "confidence": 0.9, "box": [32, 24, 64, 72]},
        {"label": "b", "confidence": 0.8, "box": [12, 5, 64, 43]},
    ]

    assert detect(load(model), frame(128, 96)) == expected[:count]


def test_eighty_classes_of_rtdetr_without_names_are_those_of_coco(load: Load) -> None:
    output = rtdetr([Put((16, 24, 32, 72), 79)], classes=80)

    (found,) = detect(load(Model(output, names=None)), frame(64, 96))

    assert (found["label"], found["box"]) == ("toothbrush", [16, 24, 32, 72])


def test_overlapping_boxes_of_rtdetr_are_kept(load: Load) -> None:
    found = detect(load(Model(rtdetr([HELMET, HELMET]))), frame(64, 96))

    assert [entry["confidence"] for entry in found] == [0.9, 0.9]


CORNERS = [np.array([[[0.25, 0.25, 0.5, 0.75, 0.9, 1], *[[0] * 6] * 299]], np.float32)]
"""Final boxes between 0 and 1 that may be x1, y1, x2, y2 or centre and size."""


def test_boxes_between_0_and_1_that_may_be_corners_or_not_are_refused(load: Load) -> None:
    with pytest.raises(
        PipelineError, match=r"Set VIDEOQUEUE_YOLO_FAMILY to end2end for corners, else to rtdetr\."
    ):
        load(Model(CORNERS))


@pytest.mark.parametrize(("family", "box"), [("end2end", [16, 24, 32, 72]), ("rtdetr", [0, 0, 32, 60])])
def test_the_operator_says_whether_they_are_corners_or_centres(
    load: Load, family: str, box: list[int]
) -> None:
    (found,) = detect(load(Model(CORNERS), family=family), frame(64, 96))

    assert (found["label"], found["box"]) == ("b", box)


@pytest.mark.parametrize("layout", ["yolov8", "yolov5"])
def test_boxes_of_cells_between_0_and_1_are_shares_of_the_picture(load: Load, layout: str) -> None:
    encode, metadata = LAYOUTS[layout]
    (output,) = encode([Put((16, 24, 32, 72), 1)])
    places = output[:, :4] if layout == "yolov8" else output[..., :4].swapaxes(1, 2)
    places /= np.array([64, 96, 64, 96], np.float32)[:, None]

    (found,) = detect(load(Model([output], metadata=metadata)), frame(64, 96))

    assert (found["label"], found["box"]) == ("b", [16, 24, 32, 72])


def test_six_columns_with_pixels_are_final_boxes_even_with_two_names(load: Load) -> None:
    (found,) = detect(load(Model(end2end([Put((8, 16, 40, 80), 1)]), names=["a", "b"])), frame(64, 96))

    assert (found["label"], found["box"]) == ("b", [8, 16, 40, 80])


SQUARE = np.zeros((1, 84, 84), np.float32)
"""For 64 x 64 pixels this has the grid's 84 cells both ways: yolov8 with 80 classes or yolox with 79."""


@pytest.mark.parametrize(
    ("names", "metadata", "family", "box"),
    [
        (80, {}, {}, [10, 10, 30, 20]),
        (None, {"task": "detect"}, {}, [10, 10, 30, 20]),
        (None, {}, {"family": "yolov8"}, [10, 10, 30, 20]),
    ],
)
def test_a_square_output_is_told_by_names_task_or_the_operator(
    load: Load, names: int | None, metadata: dict[str, str], family: dict[str, str], box: list[int]
) -> None:
    output = SQUARE.copy()
    output[0, :5, 0] = [20, 15, 20, 10, 0.5]
    given = None if names is None else [str(number) for number in range(names)]

    plugin = load(Model([output], (64, 64), given, metadata), **family)

    assert [found["box"] for found in detect(plugin, frame(64, 64))] == [box]


def test_a_square_output_that_nothing_explains_is_refused(load: Load) -> None:
    with pytest.raises(
        PipelineError, match=r"can be read as yolov8 or as yolox\. Set VIDEOQUEUE_YOLO_FAMILY to one"
    ):
        load(Model([SQUARE], (64, 64), names=None))


def zeros(*shapes: tuple[int, ...]) -> list[Array]:
    return [np.zeros(shape, np.float32) for shape in shapes]


UNKNOWN: dict[str, tuple[Model, str]] = {
    "classifier": (Model(zeros((1, 1000))), r"outputs are \(1, 1000\)\. Supported are .* single output"),
    "no grid": (
        Model(zeros((1, 85, 500))),
        r"output is \(1, 85, 500\), without boxes between 0 and 1\. Supported are .* set VIDEOQUEUE",
    ),
    "yolo-nas": (
        Model(zeros((1, 126, 4), (1, 126, 3))),
        r"outputs are \(1, 126, 4\), \(1, 126, 3\)\. Supported",
    ),
    "segments": (
        Model(zeros((1, 39, 126), (1, 32, 24, 16))),
        r"outputs are \(1, 39, 126\), \(1, 32, 24, 16\)",
    ),
    "pose": (Model(zeros((1, 56, 126)), metadata={"task": "pose"}), r"its task is 'pose'\. Only 'detect'"),
    "bare heads": (Model(zeros((1, 24, 3, 2), (1, 24, 6, 4))), r"no anchors .* and masks"),
    "other heads": (Model(zeros((1, 24, 3, 2)), metadata=DARKNET), r"does not fit masks of 3, 3 anchors"),
    "odd heads": (
        Model(zeros((1, 25, 3, 2), (1, 25, 6, 4)), metadata=DARKNET),
        r"are \(1, 25, 3, 2\), \(1, 25, 6, 4\), which does not fit",
    ),
    "objectness in a model of the ultralytics package": (
        Model(zeros((1, 378, 8)), metadata={"task": "detect"}),
        r"output is \(1, 378, 8\)\. Supported are",
    ),
    "two pictures": (
        Model(zeros((2, 7, 126)), batch=2),
        r"it takes \[2,3,96,64\]\. It must take one picture",
    ),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_what_cannot_be_read_is_described(load: Load, case: str) -> None:
    model, message = UNKNOWN[case]

    with pytest.raises(PipelineError, match=rf"The YOLO model model\.onnx cannot be used: .*{message}"):
        load(model)


@pytest.mark.parametrize(
    ("family", "message"),
    [
        (
            "yolov9000",
            r"YOLO_FAMILY is 'yolov9000': it takes darknet, end2end, rtdetr, yolov5, yolov8, yolox",
        ),
        ("yolox", r"output is \(1, 7, 126\), and VIDEOQUEUE_YOLO_FAMILY is yolox\. Supported are"),
        ("end2end", r"output is \(1, 7, 126\), and VIDEOQUEUE_YOLO_FAMILY is end2end"),
        ("darknet", r"output is \(1, 7, 126\), and VIDEOQUEUE_YOLO_FAMILY is darknet"),
    ],
)
def test_a_family_that_the_output_contradicts_is_refused(load: Load, family: str, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        load(Model(yolov8([])), family=family)


def test_darknet_heads_are_of_no_other_family(load: Load) -> None:
    with pytest.raises(PipelineError, match=r"heads of Darknet, and VIDEOQUEUE_YOLO_FAMILY is yolov5"):
        load(Model(darknet([]), metadata=DARKNET), family="yolov5")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (b"no model", "cannot be read as ONNX"), (b"", "cannot be read as ONNX")],
)
def test_a_file_that_is_no_model_is_named_without_its_folder(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    file = tmp_path / "best.onnx"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(PipelineError, match=message) as caught:
        create(PluginOptions(values={"yolo.model": str(file)}))

    assert ("best.onnx" in str(caught.value), str(tmp_path) in str(caught.value)) == (True, False)
