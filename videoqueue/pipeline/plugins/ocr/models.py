"""The text models: PP-OCRv6 small from RapidOCR's package in 8 bits, see scripts/quantise_text_models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from videoqueue.errors import PipelineError
from videoqueue.pipeline.memory import free_memory
from videoqueue.pipeline.plugins.openvino import Array, CompiledModel, ModelsBySize, Size

# After the module that keeps OpenVINO offline.
import openvino  # isort: skip
from openvino.preprocess import PrePostProcessor  # isort: skip

FOLDER = Path(__file__).parent / "weights"
DETECTOR = "PP-OCRv6_det_small_int8.xml"
RECOGNIZER = "PP-OCRv6_rec_small_int8.xml"
CHARSET = "charset.txt"
# What the detector needs for each picture that it is given at the same time; measured, rounded up.
_BYTES_PER_PIXEL = 112


class TextDetector:
    """Computes where text is. A model is compiled for each picture size; the last used ones are kept.

    One model for all sizes takes a quarter longer, and keeps memory for every size that it has seen.
    """

    def __init__(self, core: openvino.Core, threads: int) -> None:
        self._core = core
        self._threads = threads
        self._source = _with_pixel_input(_read(core, DETECTOR))
        self._models = ModelsBySize(self._compile)

    @contextmanager
    def run(self, image: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.float32]]:
        """Runs the model on a BGR image whose sides are multiples of 32.

        Returns:
            A context manager with the probability map (1, 1, height, width). Its memory is reused after the
            `with` block.
        """
        height, width = image.shape[:2]
        with self._models.get((height, width)).run(image[None]) as (probability_map,):
            yield probability_map

    def _compile(self, size: Size) -> CompiledModel:
        model = self._source.clone()
        model.reshape([1, *size, 3])
        return CompiledModel(self._core, model, _at_once(size, self._threads, free_memory()))


class LineModel:
    """A model from normalized lines (1, 3, height, width) to probabilities (1, steps, characters).

    Attributes:
        height: The height of a line in pixels.
        width: The width of every line in pixels; None if the model takes any.
    """

    def __init__(self, model: CompiledModel, height: int = 48, width: int | None = None) -> None:
        self._model = model
        self.height = height
        self.width = width

    def run(self, line: Array) -> AbstractContextManager[list[Array]]:
        """Returns a context manager with the model's output for a line, as `CompiledModel.run`."""
        return self._model.run(line)


def recognizer(core: openvino.Core, threads: int) -> LineModel:
    """Returns the built-in recognizer.

    Raises:
        PipelineError: A file of the model is missing.
    """
    return LineModel(CompiledModel(core, _read(core, RECOGNIZER), threads))


def charset() -> list[str]:
    """Returns the characters of the built-in recognizer's outputs, without the blank and the space.

    Raises:
        PipelineError: The file is missing.
    """
    _check(FOLDER / CHARSET)
    return (FOLDER / CHARSET).read_text(encoding="utf-8").splitlines()


def _at_once(size: Size, threads: int, free: int | None) -> int:
    """Returns how many pictures are computed at once; further ones wait.

    Their memory may take half of what is free. The rest is for frames, and for the other models.
    """
    if free is None:
        return threads
    height, width = size
    return max(1, min(threads, free // 2 // (height * width * _BYTES_PER_PIXEL)))


def _with_pixel_input(model: openvino.Model) -> openvino.Model:
    """Returns the model with uint8 pixels (1, height, width, 3) as its input; it normalizes them itself."""
    steps: Any = PrePostProcessor(model)
    steps.input().tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    steps.input().model().set_layout(openvino.Layout("NCHW"))
    steps.input().preprocess().convert_element_type(openvino.Type.f32).mean(127.5).scale(127.5)
    built: openvino.Model = steps.build()
    return built


def _read(core: openvino.Core, name: str) -> openvino.Model:
    _check(FOLDER / name)
    _check((FOLDER / name).with_suffix(".bin"))
    return core.read_model(FOLDER / name)


def _check(file: Path) -> None:
    if not file.is_file():
        raise PipelineError(f"The text model's file {file.name} is missing. Reinstall videoqueue.")
