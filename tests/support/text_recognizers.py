"""Writes small ONNX files with the interface of a PP-OCR recognition model, which read shades of grey."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from videoqueue.pipeline.plugin import PluginOptions
from videoqueue.pipeline.plugins.ocr import OcrPlugin, create
from videoqueue.settings import load_settings

#: Each stretch of a line has the level of a character: the blank, a, b, c, the space. A picture is padded
#: with the level of the blank.
LEVELS = {"": 128, "a": 0, "b": 255, "c": 192, " ": 64}
CHARACTERS = "a\nb\nc"
#: The width of a stretch in a line of 48 pixels height; the model has a step every eighth pixel.
STRETCH = 48
_STEP = 8


@dataclass(frozen=True)
class Recognizer:
    """An ONNX file in the making.

    `shape` is the model's input, None for a side of any length. Without `softmax` it returns logits.
    `metadata` is the entry "character". The more `gain`, the surer it is.
    """

    shape: Sequence[int | None] = (None, 3, 48, None)
    metadata: str | None = CHARACTERS
    levels: Sequence[int] = tuple(LEVELS.values())
    softmax: bool = True
    outputs: int = 1
    inputs: int = 1
    gain: float = 500

    def write(self, file: Path) -> Path:
        """The mean of each step, compared with every level."""
        levels = np.array(self.levels, np.float32)[None, None] / 127.5 - 1
        tensors = {
            "levels": levels,
            "order": np.array([1, -1, 1]),
            "gain": np.array([-self.gain], np.float32),
        }
        nodes = [
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1, 2], keepdims=1),
            helper.make_node(
                "AveragePool", ["mean"], ["pooled"], kernel_shape=[1, _STEP], strides=[1, _STEP]
            ),
            helper.make_node("Reshape", ["pooled", "order"], ["steps"]),
            helper.make_node("Sub", ["steps", "levels"], ["difference"]),
            helper.make_node("Mul", ["difference", "difference"], ["square"]),
            helper.make_node("Mul", ["square", "gain"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=2),
        ]
        last = "probabilities" if self.softmax else "logits"
        names = [f"output{number}" for number in range(self.outputs)]
        nodes += [helper.make_node("Identity", [last], [name]) for name in names]
        floats = TensorProto.FLOAT
        graph = helper.make_graph(
            nodes,
            "test",
            [
                helper.make_tensor_value_info(name, floats, self.shape)
                for name in ("x", "second")[: self.inputs]
            ],
            [helper.make_tensor_value_info(name, floats, [None, None, levels.size]) for name in names],
            [numpy_helper.from_array(value, name) for name, value in tensors.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        if self.metadata is not None:
            helper.set_model_props(model, {"character": self.metadata})
        onnx.save(model, str(file))
        return file


Load = Callable[..., OcrPlugin]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Writes a model and loads it: `load(model, charset=b"a\\nb", confidence="0")`."""
    setting_names = load_settings({}).pipeline_options.setting_names

    def load(model: Recognizer | None = None, charset: bytes | None = None, **options: str) -> OcrPlugin:
        values = {f"ocr.{name}": value for name, value in options.items()}
        if model is not None:
            values["ocr.recognizer"] = str(model.write(tmp_path / "mine.onnx"))
        if charset is not None:
            (tmp_path / "mine.txt").write_bytes(charset)
            values["ocr.charset"] = str(tmp_path / "mine.txt")
        return create(PluginOptions(1, values, setting_names))

    return load


def line(text: str, height: int = 48) -> npt.NDArray[np.uint8]:
    """A line that such a model reads as `text`; equal neighbours need a "_" between them, which is blank."""
    levels = [LEVELS[letter.strip("_")] for letter in text]
    shades = np.repeat(np.array(levels, np.uint8), STRETCH * height // 48)
    return np.broadcast_to(shades[None, :, None], (height, len(shades), 3)).copy()


def read(plugin: OcrPlugin, text: str, height: int = 48) -> str:
    """What the plugin's recognizer reads in such a line."""
    return plugin._engine._recognizer.read(line(text, height)).text
