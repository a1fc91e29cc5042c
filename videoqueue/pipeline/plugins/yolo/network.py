"""A YOLO-like model on OpenVINO: float32 in and out, one picture per call, callable from many threads."""

from __future__ import annotations

import ast
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from videoqueue.errors import PipelineError
from videoqueue.pipeline.plugin import PluginOptions
from videoqueue.pipeline.plugins.openvino import Array, CompiledModel, ModelsBySize, Size, new_core
from videoqueue.pipeline.plugins.yolo.frame_shape import FrameShapes

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
        return cls(*(options.setting_name(str(option.default)) for option in fields(cls)))


class Network:
    """A loaded model.

    Args:
        file: The ONNX file, or the .xml file of OpenVINO with the .bin file beside it.
        threads: How many pictures are processed at once.
        settings: How error texts name the options.

    Attributes:
        name: The name of the file, for messages.
        settings: The argument.
        checksum: The SHA-256 of the file, and of the .bin file if it has one.
        metadata: What the exporter wrote into the file.
        size: Height and width of the input in pixels; of a model that takes several, of one of them.
        shapes: The shapes of the outputs for that size; -1 where the length depends on the picture.

    Raises:
        PipelineError: The file is missing, is not a model, or its input is not a single colour picture.
    """

    def __init__(self, file: Path, threads: int, settings: SettingNames | None = None) -> None:
        self.name = file.name
        self.settings = settings or SettingNames()
        self._core = new_core()
        self._threads = max(1, min(threads, os.cpu_count() or 1))
        model = self._read(file)
        self.checksum = _checksum(file)
        self.metadata = _metadata(model)
        self._frame_shapes = self._read_frame_shapes(model)
        self.size = self._fix_size(model)
        self.shapes = [
            tuple(_DYNAMIC if side.is_dynamic else side.get_length() for side in output.partial_shape)
            for output in model.outputs
        ]
        self._compiled_for = self._compile_sizes(model)

    def size_for(self, width: int, height: int) -> Size:
        """Returns the size of the picture, (height, width), for a frame of that width and height."""
        return self._frame_shapes.size_for(width, height) if self._frame_shapes else self.size

    def run(self, picture: Array) -> list[Array]:
        """Returns the outputs for a picture (1, 3, height, width) of a size that `size_for` returned."""
        height, width = picture.shape[2:]
        with self._compiled_for((height, width)).run(picture) as outputs:
            return [output.copy() for output in outputs]

    def error(self, what: str) -> PipelineError:
        """Returns the error to raise when the model cannot be used."""
        return PipelineError(f"The YOLO model {self.name} cannot be used: {what}")

    def _read(self, file: Path) -> openvino.Model:
        if not file.is_file():
            raise self.error(f"there is no such file. Set {self.settings.model} to the path of an ONNX file.")
        try:
            return self._core.read_model(file)
        except RuntimeError as error:
            raise self.error(
                "it cannot be read as ONNX. Copy it again, or export it with opset 17 or lower."
            ) from error

    def number(self, key: str) -> float | None:
        """Returns a number from 0 to 1 in the metadata; None if it is not there."""
        if key not in self.metadata:
            return None
        try:
            number = float(self.metadata[key])
        except ValueError:
            number = -1.0
        if not 0 <= number <= 1:
            raise self.error(
                f"{key} in its metadata is {self.metadata[key]!r}. It must be a number from 0 to 1."
            )
        return number

    def _read_frame_shapes(self, model: openvino.Model) -> FrameShapes | None:
        """Returns `frame_shape`, [stride, most pixels], of a model that takes pictures of any size."""
        given = self.metadata.get("frame_shape")
        if given is None or not any(source.partial_shape.is_dynamic for source in model.inputs):
            return None
        try:
            stride, pixels = map(int, ast.literal_eval(given))
            return FrameShapes(stride, pixels)
        except (ValueError, TypeError, SyntaxError) as error:
            raise self.error(
                f"frame_shape in its metadata is {given!r}. It must be [stride, pixels of a picture]."
            ) from error

    def _fix_size(self, model: openvino.Model) -> Size:
        """Fixes the length of every side of the input, which fixes those of the outputs."""
        shapes = [source.partial_shape for source in model.inputs]
        valid = len(shapes) == 1 and len(shapes[0]) == 4
        if valid:
            sides = [_DYNAMIC if side.is_dynamic else side.get_length() for side in shapes[0]]
            valid = sides[0] in (_DYNAMIC, 1) and sides[1] in (_DYNAMIC, 3)
        if not valid:
            found = ", ".join(str(shape) for shape in shapes) or "nothing"
            raise self.error(
                f"it takes {found}. It must take one picture, (1, 3, height, width). "
                "Export it with that input only."
            )
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

    def _compile_sizes(self, model: openvino.Model) -> Callable[[Size], CompiledModel]:
        """Compiles the model for its size. Returns a function that returns the model for any size."""
        if self._frame_shapes is None:
            compiled = self._compile(model)
            return lambda size: compiled

        def compile_for(size: Size) -> CompiledModel:
            resized = model.clone()
            resized.reshape([1, 3, *size])
            return self._compile(resized)

        models = ModelsBySize(compile_for)
        models.get(self.size)
        return models.get

    def _compile(self, model: openvino.Model) -> CompiledModel:
        try:
            prepared = _in_float32(model)
            # Folding turns the weights of a model that computes with 8 bits into float32: 3 times slower.
            if not _computes_with_8_bits(prepared):
                _fold_constants(prepared)
            return CompiledModel(self._core, prepared, self._threads, {"PERFORMANCE_HINT": "THROUGHPUT"})
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


def _computes_with_8_bits(model: openvino.Model) -> bool:
    return any(step.get_type_name() == "FakeQuantize" for step in model.get_ops())


def _checksum(file: Path) -> str:
    """Returns the SHA-256 of a model; the weights of an .xml file are in the .bin file beside it."""
    content = hashlib.sha256()
    for part in (file, file.with_suffix(".bin")) if file.suffix == ".xml" else (file,):
        with part.open("rb") as opened:
            content.update(hashlib.file_digest(opened, "sha256").digest())
    return content.hexdigest()


def _metadata(model: openvino.Model) -> dict[str, str]:
    """Returns the file's `metadata_props`, which OpenVINO keeps under "framework"."""
    information: Any = model.get_rt_info()
    if "framework" not in information:
        return {}
    entries = information["framework"]
    return {str(key): str(entries[key].value) for key in entries}
