"""Prints checksums of what the exact layers of the text models compute.

Usage: python -m tests.support.text_model_bits. The inputs are two sizes of a frame of the sample video, and a
line cut from it.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

import videoqueue
from videoqueue.pipeline.decode.decoder import open_video
from videoqueue.pipeline.plugins.ocr import models
from videoqueue.pipeline.plugins.openvino import new_core

import openvino  # isort: skip

SAMPLE = Path(videoqueue.__file__).parent / "cli" / "sample.mp4"
_FRAME, _LINE = 7, (slice(355, 404), slice(412, 868))
_SIZES = ((640, 352), (960, 544))
_LAYERS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul")


def exact_layers(model: openvino.Model) -> list[Any]:
    """Returns the layers whose weights are 8-bit numbers times a scale, in their order."""
    return [
        step
        for step in model.get_ordered_ops()
        if step.get_type_name() in _LAYERS and step.input_value(1).get_node().get_type_name() == "Multiply"
    ]


def read(name: str) -> openvino.Model:
    """Returns a model of the plugin as it is in its file."""
    return new_core().read_model(models.FOLDER / name)


def _input(picture: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(((picture.astype(np.float32) - 127.5) / 127.5).transpose(2, 0, 1)[None])


def _checksum(model: openvino.Model, values: npt.NDArray[np.float32]) -> str:
    model.reshape(values.shape)
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    (output,) = openvino.Core().compile_model(model, "CPU", options)(values).values()
    return hashlib.sha256(np.ascontiguousarray(output).tobytes()).hexdigest()


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def main() -> None:
    with open_video(SAMPLE) as video:
        frame = next(seen.image() for seen in video.frames() if seen.index == _FRAME)
    for size in _SIZES:
        _print(_checksum(read(models.DETECTOR), _input(cv2.resize(frame, size))))
    recognizer = read(models.RECOGNIZER)
    last = exact_layers(recognizer)[-1]
    part = openvino.Model([last.output(0)], recognizer.get_parameters(), "exact part")
    _print(_checksum(part, _input(cv2.resize(frame[_LINE], (480, 48)))))


if __name__ == "__main__":
    main()
