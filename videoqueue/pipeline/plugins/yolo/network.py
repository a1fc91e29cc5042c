"""A YOLO model in ONNX on OpenVINO: float32 in and out, one picture per call, callable from many threads."""

from __future__ import annotations

import ast
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videoqueue.errors import PipelineError
from videoqueue.pipeline.plugin import PluginOptions
from videoqueue.pipeline.plugins.openvino import Array, CompiledModel, new_core

# After the module that keeps OpenVINO offline.
import openvino  # isort: skip
from openvino.passes import ConstantFolding, Manager  # isort: skip

# Side of the picture in pixels for a model that takes any size and does not say which it was trained with.
_DEFAULT_SIDE = 640
_DYNAMIC = -1


@dataclass(frozen=True)
class SettingNames:
    """What the operator calls the options of this plugin."""

    model: str = "yolo.model"
    labels: str = "yolo.labels"
    family: str = "yolo.family"

    @classmethod
    def of(cls, options: PluginOptions) -> SettingNames:
        """Returns the names that the options have, for error texts."""
        return cls(*map(options.setting_name, (cls.model, cls.labels, cls.family)))


class Network:
    """A loaded model.

    Args:
        file: The ONNX file.
        threads: How many pictures are processed at once.
        settings: How error texts name the options.

    Attributes:
        name: The name of the file, for messages.
        settings: The argument.
        checksum: The SHA-256 of the file.
        metadata: What the exporter wrote into the file.
        size: Height and width of the input in pixels.
        shapes: The shapes of the outputs; -1 where the length depends on the picture.

    Raises:
        PipelineError: The file is missing, is not an ONNX model, or its input is not a single colour picture.
    """

    def __init__(self, file: Path, threads: int, settings: SettingNames | None = None) -> None:
        self.name = file.name
        self.settings = settings or SettingNames()
        core = new_core()
        model = self._read(core, file)
        with file.open("rb") as content:
            self.checksum = hashlib.file_digest(content, "sha256").hexdigest()
        self.metadata = _metadata(model)
        self.size = self._fix_size(model)
        self.shapes = [
            tuple(_DYNAMIC if side.is_dynamic else side.get_length() for side in output.partial_shape)
            for output in model.outputs
        ]
        self._compiled = self._compile(core, model, max(1, min(threads, os.cpu_count() or 1)))

    def run(self, picture: Array) -> list[Array]:
        """Returns the outputs for a picture (1, 3, height, width)."""
        with self._compiled.run(picture) as outputs:
            return [output.copy() for output in outputs]

    def error(self, what: str) -> PipelineError:
        """Returns the error to raise when the model cannot be used."""
        return PipelineError(f"The YOLO model {self.name} cannot be used: {what}")

    def _read(self, core: openvino.Core, file: Path) -> openvino.Model:
        if not file.is_file():
            raise self.error(f"there is no such file. Set {self.settings.model} to the path of an ONNX file.")
        try:
            return core.read_model(file)
        except RuntimeError as error:
            raise self.error(
                "it cannot be read as ONNX. Copy it again, or export it with opset 17 or lower."
            ) from error

    def _fix_size(self, model: openvino.Model) -> tuple[int, int]:
        """Fixes the length of every side of the input, which fixes those of the outputs."""
        shapes = [source.partial_shape for source in model.inputs]
        valid = len(shapes) == 1 and len(shapes[0]) == 4
        if valid:
            sides = [_DYNAMIC if side.is_dynamic else side.get_length() for side in shapes[0]]
            valid = sides[0] in (_DYNAMIC, 1) and sides[1] in (_DYNAMIC, 3)
        if not valid:
            found = ", ".join(str(shape) for shape in shapes) or "nothing"
            raise self.error(f"it takes {found}. It must take one picture, (1, 3, height, width).")
        height, width = (
            side if side != _DYNAMIC else trained
            for side, trained in zip(sides[2:], self._trained_size(), strict=True)
        )
        if _DYNAMIC in sides:
            try:
                model.reshape([1, 3, height, width])
            except RuntimeError as error:
                raise self.error(
                    f"it cannot take a picture of {width} x {height}. Export it with a fixed size."
                ) from error
        return height, width

    def _trained_size(self) -> tuple[int, int]:
        """Returns `imgsz`, which Ultralytics writes as "[height, width]", or the default."""
        try:
            height, width = ast.literal_eval(self.metadata.get("imgsz", ""))
            return int(height), int(width)
        except (ValueError, TypeError, SyntaxError):
            return _DEFAULT_SIDE, _DEFAULT_SIDE

    def _compile(self, core: openvino.Core, model: openvino.Model, threads: int) -> CompiledModel:
        try:
            prepared = _in_float32(model)
            _fold_constants(prepared)
            return CompiledModel(core, prepared, threads, {"PERFORMANCE_HINT": "THROUGHPUT"})
        except RuntimeError as error:
            raise self.error("OpenVINO cannot run it. Export it again, with opset 17 or lower.") from error


def _in_float32(model: openvino.Model) -> openvino.Model:
    """Returns the model with float32 as the type of its input and outputs, whatever it computes with."""
    steps: Any = openvino.preprocess.PrePostProcessor(model)
    steps.input().tensor().set_element_type(openvino.Type.f32)
    for index in range(len(model.outputs)):
        steps.output(index).tensor().set_element_type(openvino.Type.f32)
    built: openvino.Model = steps.build()
    return built


def _fold_constants(model: openvino.Model) -> None:
    """Computes everything that does not depend on a picture, such as compressed weights as float32.

    OpenVINO would do this as well, but in all streams at once and into shared memory: int8 weights were then
    wrong in some streams, in one of six processes with two streams.
    """
    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(model)


def _metadata(model: openvino.Model) -> dict[str, str]:
    """Returns the file's `metadata_props`, which OpenVINO keeps under "framework"."""
    information: Any = model.get_rt_info()
    if "framework" not in information:
        return {}
    entries = information["framework"]
    return {str(key): str(entries[key].value) for key in entries}
