"""The text models: PP-OCRv6 small from RapidOCR's package in 8 bit, see scripts/quantise_text_models."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from videoqueue.errors import PipelineError
from videoqueue.pipeline.plugins.offline import keep_openvino_offline

keep_openvino_offline()

import openvino  # noqa: E402
from openvino.preprocess import PrePostProcessor  # noqa: E402

FOLDER = Path(__file__).parent / "weights"
DETECTOR = "PP-OCRv6_det_small_int8.xml"
RECOGNIZER = "PP-OCRv6_rec_small_int8.xml"
CHARSET = "charset.txt"
# A video has one frame size, rarely two.
_MOST_SIZES = 2


class Model:
    """A compiled model that any number of threads may call; each call keeps one processor thread busy.

    A call never shares its work among threads: sums would be added up in another order for another number.
    """

    def __init__(self, core: Any, model: Any, threads: int) -> None:
        options = {
            "NUM_STREAMS": threads,
            "INFERENCE_NUM_THREADS": threads,
            # Each process would tie its first thread to the same core as the next process.
            "ENABLE_CPU_PINNING": False,
            # Some processors would take bfloat16 by themselves, and give other results than the rest.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        self._compiled = core.compile_model(model, "CPU", options)
        self._idle: deque[Any] = deque()

    @contextmanager
    def run(self, tensor: npt.NDArray[Any]) -> Iterator[npt.NDArray[np.float32]]:
        """The output for one input tensor; its memory is reused after the `with` block."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        try:
            request.infer([tensor], share_inputs=True)
            yield request.get_output_tensor().data
        finally:
            self._idle.append(request)


def new_core() -> Any:
    """What models are read and compiled with; one for all of them. Call from one thread only."""
    # The first tensor of a process sets up OpenVINO's binding to numpy; two threads that both make the first
    # wait for each other for ever, one with the interpreter's lock and one with the binding's.
    openvino.Tensor(np.zeros(1, np.float32), shared_memory=True)
    return openvino.Core()


class TextDetector:
    """Marks where text is. A model is compiled for each size of picture, and those used last are kept.

    One model for all sizes takes a quarter longer, and remembers every size it has seen.
    """

    def __init__(self, core: Any, threads: int) -> None:
        self._core = core
        self._threads = threads
        self._source = _pixels_in(_read(core, DETECTOR))
        self._compiling = threading.Lock()
        self._models: OrderedDict[tuple[int, int], Model] = OrderedDict()

    @contextmanager
    def run(self, image: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.float32]]:
        """The map (1, 1, height, width) of a BGR image whose sides are multiples of 32."""
        height, width = image.shape[:2]
        with self._model(height, width).run(image[None]) as probability_map:
            yield probability_map

    def _model(self, height: int, width: int) -> Model:
        size = (height, width)
        with self._compiling:
            if size not in self._models:
                model = self._source.clone()
                model.reshape([1, height, width, 3])
                if len(self._models) == _MOST_SIZES:
                    self._models.popitem(last=False)
                self._models[size] = Model(self._core, model, self._threads)
            self._models.move_to_end(size)
            return self._models[size]


def recognizer(core: Any, threads: int) -> Model:
    """Takes normalized lines (1, 3, 48, width), gives likelihoods (1, steps, letters)."""
    return Model(core, _read(core, RECOGNIZER), threads)


def charset() -> list[str]:
    _check(FOLDER / CHARSET)
    return (FOLDER / CHARSET).read_text(encoding="utf-8").splitlines()


def _pixels_in(model: Any) -> Any:
    """The model with pixels (1, height, width, 3) of uint8 as its input, normalized by itself."""
    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    steps.input().model().set_layout(openvino.Layout("NCHW"))
    steps.input().preprocess().convert_element_type(openvino.Type.f32).mean(127.5).scale(127.5)
    return steps.build()


def _read(core: Any, name: str) -> Any:
    _check(FOLDER / name)
    _check((FOLDER / name).with_suffix(".bin"))
    return core.read_model(FOLDER / name)


def _check(file: Path) -> None:
    if not file.is_file():
        raise PipelineError(f"The text model's file {file.name} is missing. Reinstall videoqueue.")
