"""Writes small ONNX files that look like YOLO exports: they give what a test puts into them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper, numpy_helper

from videoqueue.pipeline.plugin import PluginOptions
from videoqueue.pipeline.plugins.yolo import YoloPlugin, create
from videoqueue.settings import load_settings

Array = npt.NDArray[np.float32]
Box = tuple[float, float, float, float]
Size = tuple[int, int]
Pixel = tuple[int, int, int]
ANCHORS = [[10, 14], [23, 27], [37, 58], [81, 82], [135, 169], [344, 319]]
MASKS = [[3, 4, 5], [0, 1, 2]]
DARKNET = {"anchors": str(ANCHORS), "masks": str(MASKS)}


@dataclass(frozen=True)
class Put:
    """An object put into a model's output: its box in pixels of the picture, its class and score."""

    box: Box
    number: int = 0
    score: float = 0.9

    def middle(self) -> list[float]:
        x1, y1, x2, y2 = self.box
        return [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]


@dataclass
class Model:
    """An ONNX file in the making.

    `outputs` are constant, but for `seen`: in output 0, at that place, stands what the picture has at
    (channel, row, column), times `gain`. `size` None is a picture of any size; `batch` None any
    number of pictures.
    """

    outputs: Sequence[Array]
    size: Size | None = (96, 64)
    names: Sequence[str] | None = ("a", "b", "c")
    metadata: Mapping[str, str] = field(default_factory=dict)
    seen: Mapping[tuple[int, ...], Pixel] = field(default_factory=dict)
    batch: int | None = 1
    gain: float = 1
    kind: Any = np.float32

    def write(self, file: Path) -> Path:
        shape = [self.batch, 3, *(self.size or (None, None))]
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.kind))
        image = helper.make_tensor_value_info("images", kind, shape)
        nodes, tensors, results = [], [], []
        for number, values in enumerate(self.outputs):
            parts, constants = self._seeing(number, values)
            nodes += parts
            tensors += constants
            results.append(helper.make_tensor_value_info(f"output{number}", kind, values.shape))
        graph = helper.make_graph(nodes, "test", [image], results, tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        names = {} if self.names is None else {"names": str(dict(enumerate(self.names)))}
        helper.set_model_props(model, {**names, **self.metadata})
        onnx.save(model, str(file))
        return file

    def _seeing(self, number: int, values: Array) -> tuple[list[Any], list[Any]]:
        """output = constant + mask * flat picture[places]"""
        places, mask = np.zeros(values.shape, np.int64), np.zeros(values.shape, self.kind)
        for at, (channel, row, column) in self.seen.items() if number == 0 else ():
            assert self.size is not None
            places[at] = np.ravel_multi_index((channel, row, column), (3, *self.size))
            mask[at] = self.gain
        constants = {
            "constant": values.astype(self.kind),
            "places": places,
            "mask": mask,
            "all": np.array([-1]),
        }
        tensors = [numpy_helper.from_array(value, f"{key}{number}") for key, value in constants.items()]
        steps = [
            ("Reshape", ["images", f"all{number}"], "flat"),
            ("Gather", [f"flat{number}", f"places{number}"], "picked"),
            ("Mul", [f"picked{number}", f"mask{number}"], "masked"),
            ("Add", [f"masked{number}", f"constant{number}"], "output"),
        ]
        nodes = [helper.make_node(kind, inputs, [f"{output}{number}"]) for kind, inputs, output in steps]
        return nodes, tensors


Load = Callable[..., YoloPlugin]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Writes a model and loads it: `load(model, threads=1, family="yolov5", labels="file")`."""
    setting_names = load_settings({}).pipeline_options.setting_names

    def load(model: Model, threads: int = 1, **options: str) -> YoloPlugin:
        values = {"yolo.model": str(model.write(tmp_path / "model.onnx"))}
        values.update({f"yolo.{name}": value for name, value in options.items()})
        return create(PluginOptions(threads, values, setting_names))

    return load


def frame(width: int, height: int) -> npt.NDArray[np.uint8]:
    return np.zeros((height, width, 3), np.uint8)


def detect(plugin: YoloPlugin, image: npt.NDArray[np.uint8]) -> list[dict[str, Any]]:
    detections = plugin.run_tool("detect", {"image": image})["detections"]
    assert isinstance(detections, list)
    return detections


def cells(size: Size, strides: Sequence[int] = (8, 16, 32)) -> int:
    return sum((size[0] // stride) * (size[1] // stride) for stride in strides)


def yolov8(puts: Sequence[Put], size: Size = (96, 64), classes: int = 3) -> list[Array]:
    output = np.zeros((1, 4 + classes, cells(size)), np.float32)
    for at, put in enumerate(puts):
        output[0, :4, at] = put.middle()
        output[0, 4 + put.number, at] = put.score
    return [output]


def yolov5(puts: Sequence[Put], size: Size = (96, 64), classes: int = 3, rows: int = 0) -> list[Array]:
    output = np.zeros((1, rows or 3 * cells(size), 5 + classes), np.float32)
    for at, put in enumerate(puts):
        output[0, at, :5] = [*put.middle(), put.score]
        output[0, at, 5 + put.number] = 1
    return [output]


def end2end(puts: Sequence[Put], size: Size = (96, 64), rows: int = 300) -> list[Array]:
    output = np.zeros((1, rows, 6), np.float32)
    for at, put in enumerate(puts):
        output[0, at] = [*put.box, put.score, put.number]
    return [output]


def rtdetr(puts: Sequence[Put], size: Size = (96, 64), classes: int = 3, rows: int = 300) -> list[Array]:
    """Every query has a box, also those without an object; the sides of the picture are 1."""
    output = np.full((1, rows, 4 + classes), 0.01, np.float32)
    for at, put in enumerate(puts):
        output[0, at, :4] = np.array(put.middle()) / [size[1], size[0], size[1], size[0]]
        output[0, at, 4 + put.number] = put.score
    return [output]


def rtdetr_best(puts: Sequence[Put], size: Size = (96, 64), rows: int = 300) -> list[Array]:
    """As `rtdetr`, with the best class of each query: its score and its number."""
    (every,) = rtdetr(puts, size, rows=rows)
    scores = np.where(
        every[..., 4:].max(axis=2, keepdims=True) > 0.01, every[..., 4:].max(axis=2, keepdims=True), 0
    )
    return [np.concatenate([every[..., :4], scores, every[..., 4:].argmax(axis=2)[..., None]], axis=2)]


def yolox(puts: Sequence[Put], size: Size = (96, 64), stride: int = 16) -> list[Array]:
    """The object stands in the cell of that stride which holds its centre."""
    output = np.zeros((1, cells(size), 8), np.float32)
    before = cells(size, [finer for finer in (8, 16, 32) if finer < stride])
    for put in puts:
        x, y, width, height = put.middle()
        column, row = int(x // stride), int(y // stride)
        at = before + row * (size[1] // stride) + column
        output[0, at, :2] = x / stride - column, y / stride - row
        output[0, at, 2:4] = np.log([width / stride, height / stride])
        output[0, at, 4] = put.score
        output[0, at, 5 + put.number] = 1
    return [output]


def darknet(puts: Sequence[Put], size: Size = (96, 64), stride: int = 16, anchor: int = 1) -> list[Array]:
    """As `yolox`, with the anchor of that number among the three of the stride, 32 or 16."""
    outputs = [np.full((1, 24, size[0] // step, size[1] // step), -50, np.float32) for step in (32, 16)]
    heads = dict(zip((32, 16), outputs, strict=True))
    sides = ANCHORS[dict(zip((32, 16), MASKS, strict=True))[stride][anchor]]
    for put in puts:
        x, y, width, height = put.middle()
        column, row = int(x // stride), int(y // stride)
        head = heads[stride][0, 8 * anchor : 8 * anchor + 8, row, column]
        head[:2] = [logit(x / stride - column), logit(y / stride - row)]
        head[2:4] = np.log([width / sides[0], height / sides[1]])
        head[4] = logit(put.score)
        head[5 + put.number] = 50
    return outputs


def logit(part: float) -> float:
    return float(np.log(part / (1 - part)))
