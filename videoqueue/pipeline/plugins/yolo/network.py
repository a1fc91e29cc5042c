"""An ONNX file on OpenVINO: float32 in and out, one picture at a time, from any number of threads."""

from __future__ import annotations

import ast
import hashlib
import os
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from videoqueue.errors import PipelineError
from videoqueue.pipeline.plugins.offline import keep_openvino_offline

keep_openvino_offline()

import openvino  # noqa: E402
from openvino.passes import ConstantFolding, Manager  # noqa: E402

Array = npt.NDArray[np.float32]
# Side of the picture in pixels for a model that takes any size and does not say which it was trained with.
_USUAL_SIDE = 640
_DYNAMIC = -1


class Network:
    """A loaded model.

    `name` is the file's, for messages; `checksum` its SHA-256; `metadata` what the exporter wrote into it;
    `size` the input's (height, width) in pixels; `shapes` those of the outputs, -1 where a picture decides.

    Raises (when made):
        PipelineError: the file is missing, is no ONNX model, or takes anything but one colour picture.
    """

    def __init__(self, file: Path, threads: int) -> None:
        # The first tensor of a process sets up OpenVINO's binding to numpy; two threads that both make the
        # first wait for each other for ever, so it is made before there are threads.
        openvino.Tensor(np.zeros(1, np.float32), shared_memory=True)
        self.name = file.name
        model = self._read(file)
        with file.open("rb") as content:
            self.checksum = hashlib.file_digest(content, "sha256").hexdigest()
        self.metadata = _metadata(model)
        self.size = self._fix_size(model)
        self.shapes = [
            tuple(_DYNAMIC if side.is_dynamic else side.get_length() for side in output.partial_shape)
            for output in model.outputs
        ]
        self._compiled = self._compile(model, max(1, min(threads, os.cpu_count() or 1)))
        self._idle: deque[Any] = deque()

    def run(self, picture: Array) -> list[Array]:
        """The outputs for a picture (1, 3, height, width)."""
        # A request holds the buffers of one inference: threads that shared one would wait for each other, and
        # one for each thread would pile up, because every video has threads of its own.
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        try:
            request.infer({0: picture}, share_inputs=True, share_outputs=True)
            return [request.get_output_tensor(index).data.copy() for index in range(len(self.shapes))]
        finally:
            self._idle.append(request)

    def fault(self, what: str) -> PipelineError:
        """The error to raise when the model cannot be used."""
        return PipelineError(f"The YOLO model {self.name} cannot be used: {what}")

    def _read(self, file: Path) -> Any:
        if not file.is_file():
            raise self.fault("there is no such file. Set VIDEOQUEUE_YOLO_MODEL to the path of an ONNX file.")
        try:
            return openvino.Core().read_model(file)
        except RuntimeError as error:
            raise self.fault(
                "it cannot be read as ONNX. Copy it again, or export it with opset 17 or lower."
            ) from error

    def _fix_size(self, model: Any) -> tuple[int, int]:
        """Gives every side of the input a length, so that the outputs have theirs."""
        shapes = [source.partial_shape for source in model.inputs]
        good = len(shapes) == 1 and len(shapes[0]) == 4
        if good:
            sides = [_DYNAMIC if side.is_dynamic else side.get_length() for side in shapes[0]]
            good = sides[0] in (_DYNAMIC, 1) and sides[1] in (_DYNAMIC, 3)
        if not good:
            found = ", ".join(str(shape) for shape in shapes) or "nothing"
            raise self.fault(f"it takes {found}. It must take one picture, (1, 3, height, width).")
        usual = self._trained_size()
        height, width = (
            side if side != _DYNAMIC else given for side, given in zip(sides[2:], usual, strict=True)
        )
        if _DYNAMIC in sides:
            try:
                model.reshape([1, 3, height, width])
            except RuntimeError as error:
                raise self.fault(
                    f"it cannot take a picture of {width} x {height}. Export it with a fixed size."
                ) from error
        return height, width

    def _trained_size(self) -> tuple[int, int]:
        """`imgsz`, which Ultralytics writes as "[height, width]"."""
        try:
            height, width = ast.literal_eval(self.metadata.get("imgsz", ""))
            return int(height), int(width)
        except (ValueError, TypeError, SyntaxError):
            return _USUAL_SIDE, _USUAL_SIDE

    def _compile(self, model: Any, threads: int) -> Any:
        settings = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            # One thread computes one picture: the sums have the same order whatever the number of threads.
            "NUM_STREAMS": threads,
            "INFERENCE_NUM_THREADS": threads,
            # Each process would tie its first thread to the same core as the next process.
            "ENABLE_CPU_PINNING": False,
            # Processors that know bfloat16 would compute with it and give other results than the rest.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        try:
            ready = _in_float32(model)
            _fold_constants(ready)
            return openvino.Core().compile_model(ready, "CPU", settings)
        except RuntimeError as error:
            raise self.fault("OpenVINO cannot run it. Export it again, with opset 17 or lower.") from error


def _in_float32(model: Any) -> Any:
    """The model with float32 as its input and outputs, whatever it computes with."""
    steps = openvino.preprocess.PrePostProcessor(model)
    steps.input().tensor().set_element_type(openvino.Type.f32)
    for index in range(len(model.outputs)):
        steps.output(index).tensor().set_element_type(openvino.Type.f32)
    return steps.build()


def _fold_constants(model: Any) -> None:
    """Computes all that depends on no picture, such as the float32 of compressed weights.

    OpenVINO does so too, but in each of its streams at once and into memory they share: weights in int8 then
    came out wrong for some of the streams, in one of six processes with two streams.
    """
    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(model)


def _metadata(model: Any) -> dict[str, str]:
    """The file's `metadata_props`, which OpenVINO keeps under "framework"."""
    information = model.get_rt_info()
    if "framework" not in information:
        return {}
    entries = information["framework"]
    return {str(key): str(entries[key].value) for key in entries}
