"""Pictures in the shape of the frame."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.support.yolo_models import Load, Model, load, yolov8
from videoqueue.errors import PipelineError
from videoqueue.pipeline.plugins import openvino as compiled_models
from videoqueue.pipeline.plugins.openvino import ModelsBySize, new_core
from videoqueue.pipeline.plugins.yolo import DEFAULT_MODEL
from videoqueue.pipeline.plugins.yolo.frame_shape import FrameShapes
from videoqueue.pipeline.plugins.yolo.network import Network

__all__ = ["load"]

SHAPES = FrameShapes(stride=32, pixels=416 * 416)


@pytest.mark.parametrize(
    ("frame", "size"),
    [
        ((1280, 720), (288, 512)),
        ((3840, 2160), (288, 512)),
        ((16, 9), (288, 512)),
        ((720, 1280), (512, 288)),
        ((640, 480), (352, 480)),
        ((500, 500), (416, 416)),
        ((2560, 1080), (256, 608)),
        ((5000, 1), (32, 1280)),
        ((1, 5000), (1280, 32)),
    ],
)
def test_the_picture_has_the_shape_of_the_frame(frame: tuple[int, int], size: tuple[int, int]) -> None:
    assert SHAPES.size_for(*frame) == size


@pytest.mark.parametrize("width", [1, 7, 100, 640, 1000, 4096, 8192])
@pytest.mark.parametrize("height", [1, 9, 120, 480, 2160, 4320])
def test_a_picture_is_never_larger_and_shows_a_frame_no_smaller_than_a_square_one(
    width: int, height: int
) -> None:
    rows, columns = SHAPES.size_for(width, height)

    assert (rows % 32, columns % 32, rows * columns <= 416 * 416) == (0, 0, True)
    assert min(rows / height, columns / width) >= min(416 / height, 416 / width)


@pytest.mark.parametrize("value", ["[32]", "[0, 4096]", "[32, 1000]", "wide", "[32, 'many']"])
def test_a_frame_shape_without_any_size_is_refused(load: Load, value: str) -> None:
    model = Model(yolov8([], (640, 640)), size=None, metadata={"frame_shape": value})

    with pytest.raises(PipelineError, match=r"frame_shape in its metadata is .* It must be \[stride, pixels"):
        load(model)


def test_a_model_of_a_fixed_size_keeps_it(load: Load, tmp_path: Path) -> None:
    model = Model(yolov8([]), metadata={"frame_shape": "[32, 173056]"}).write(tmp_path / "model.onnx")

    assert Network(model, threads=1).size_for(1280, 720) == (96, 64)


def test_the_shipped_model_is_run_in_the_shape_of_each_frame() -> None:
    network = Network(DEFAULT_MODEL, threads=1)
    cells = {}
    for frame in ((1280, 720), (640, 480), (720, 1280)):
        size = network.size_for(*frame)
        (output,) = network.run(np.full((1, 3, *size), 0.5, np.float32))
        cells[size] = output.shape[2]

    assert cells == {
        size: sum(size[0] // stride * (size[1] // stride) for stride in (8, 16, 32)) for size in cells
    }
    assert list(cells) == [(288, 512), (352, 480), (512, 288)]


@pytest.fixture
def doubling(tmp_path: Path) -> Path:
    """A model of any size."""
    picture, twice = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, "height", "width"])
        for name in ("picture", "twice")
    )
    graph = helper.make_graph(
        [helper.make_node("Add", ["picture", "picture"], ["twice"])], "test", [picture], [twice]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(tmp_path / "double.onnx"))
    return tmp_path / "double.onnx"


def test_a_size_is_compiled_once_and_few_sizes_are_kept(doubling: Path) -> None:
    core, made = new_core(), []

    def compile_for(size: tuple[int, int]) -> compiled_models.CompiledModel:
        made.append(size)
        model = core.read_model(doubling)
        model.reshape([1, 3, *size])
        return compiled_models.CompiledModel(core, model, threads=2)

    models, ready = ModelsBySize(compile_for), threading.Barrier(4)

    def use(size: tuple[int, int]) -> float:
        ready.wait(timeout=30)
        with models.get(size).run(np.ones((1, 3, *size), np.float32)) as (output,):
            return float(output.sum())

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(use, [(1, 2)] * 4)) == {12.0}
    for size in ((1, 3), (1, 2), (1, 4), (1, 2), (1, 3)):
        models.get(size)

    # (1, 3) was the one that nobody had used for longest when (1, 4) came.
    assert made == [(1, 2), (1, 3), (1, 4), (1, 3)]
