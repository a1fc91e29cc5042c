"""A recognizer of the operator's own: a recognition model of PP-OCR in ONNX, with its characters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from videoqueue.errors import PipelineError
from videoqueue.pipeline.plugins.ocr.models import LineModel
from videoqueue.pipeline.plugins.ocr.text_options import TextOptions
from videoqueue.pipeline.plugins.openvino import Array, CompiledModel

# After the module that keeps OpenVINO offline.
import openvino  # isort: skip
from openvino.passes import ConstantFolding, Manager  # isort: skip

# The height of a line for a model that takes any; pixels.
_HEIGHT = 48
# The width of the line that is read to see what the model returns; pixels.
_TRIED_WIDTH = 320
# The first output is the blank; most models have the space as the last one, beyond their characters.
_BLANK, _BLANK_AND_SPACE = 1, 2
#: Where the exporters of PP-OCR write the characters.
_METADATA = "character"


def load(core: openvino.Core, options: TextOptions, threads: int) -> tuple[LineModel, list[str]]:
    """Returns the model that the options name, and its characters without the blank and the space.

    Raises:
        PipelineError: The model or the characters cannot be used. The text says what to change.
    """
    file = options.recognizer
    if file is None:
        raise ValueError("no recognizer of one's own is named")
    model = _read(core, file, options)
    height, width = _sides(model, file)
    compiled = LineModel(_compile(core, model, threads, file), height, width)
    classes = _classes(compiled, file)
    characters = _from_file(options.charset, options) if options.charset else _from_metadata(model)
    if characters is None:
        raise _error(
            file,
            f"it does not say which characters it returns. Set {options.charset_name} to the path of a text "
            "file with one character per line, in the order of its training.",
        )
    # An editor may have left empty lines at the end of the file. They would take the place of the space.
    while characters and not characters[-1] and classes - len(characters) < _BLANK_AND_SPACE:
        characters.pop()
    if classes - len(characters) not in (_BLANK, _BLANK_AND_SPACE):
        where = options.charset_name if options.charset else "its metadata"
        raise _error(
            file,
            f"it returns {classes} classes, which is {classes - _BLANK_AND_SPACE} characters, the blank and "
            f"the space. {where[0].upper()}{where[1:]} has {len(characters)} characters. Set "
            f"{options.charset_name} to the file of characters that it was trained with.",
        )
    return compiled, characters


def _read(core: openvino.Core, file: Path, options: TextOptions) -> openvino.Model:
    if not file.is_file():
        raise _error(
            file, f"there is no such file. Set {options.recognizer_name} to the path of an ONNX file."
        )
    try:
        return core.read_model(file)
    except RuntimeError as error:
        raise _error(
            file, "it cannot be read as ONNX. Copy it again, or export it with opset 17 or lower."
        ) from error


def _sides(model: openvino.Model, file: Path) -> tuple[int, int | None]:
    """Returns the height of a line, and its width if the model takes only one. Fixes the height."""
    shapes = [source.partial_shape for source in model.inputs]
    sides = [None if side.is_dynamic else side.get_length() for side in shapes[0]] if len(shapes) == 1 else []
    if len(sides) != 4 or sides[0] not in (None, 1) or sides[1] not in (None, 3):
        found = ", ".join(str(shape) for shape in shapes) or "nothing"
        raise _error(file, f"it takes {found}. It must take one line of text, (1, 3, height, width).")
    if len(model.outputs) != 1:
        raise _error(file, f"it has {len(model.outputs)} outputs. It must have one, (1, steps, classes).")
    height, width = sides[2] or _HEIGHT, sides[3]
    try:
        model.reshape([1, 3, height, width or -1])
    except RuntimeError as error:
        raise _error(file, f"it cannot take a line of {height} pixels height. Export it again.") from error
    return height, width


def _compile(core: openvino.Core, model: openvino.Model, threads: int, file: Path) -> CompiledModel:
    try:
        steps: Any = openvino.preprocess.PrePostProcessor(model)
        steps.input().tensor().set_element_type(openvino.Type.f32)
        steps.output().tensor().set_element_type(openvino.Type.f32)
        prepared: openvino.Model = steps.build()
        # OpenVINO would compute constants in all streams at once and into shared memory, sometimes wrongly. A
        # model that computes with 8 bits would become one that computes with float32.
        if not any(step.get_type_name() == "FakeQuantize" for step in prepared.get_ops()):
            passes = Manager()
            passes.register_pass(ConstantFolding())
            passes.run_passes(prepared)
        return CompiledModel(core, prepared, threads)
    except RuntimeError as error:
        raise _error(file, "OpenVINO cannot run it. Export it again, with opset 17 or lower.") from error


def _classes(model: LineModel, file: Path) -> int:
    """Returns how many classes the model tells apart at each step. Runs it once, on a grey line."""
    line: Array = np.zeros((1, 3, model.height, model.width or _TRIED_WIDTH), np.float32)
    try:
        with model.run(line) as (output,):
            result = output.copy()
    except RuntimeError as error:
        raise _error(file, "OpenVINO cannot run it. Export it again, with opset 17 or lower.") from error
    if result.ndim != 3 or result.shape[0] != 1 or result.shape[2] < 1 + _BLANK:
        raise _error(file, f"its output is {result.shape}. It must be (1, steps, classes).")
    if not (np.all(result >= 0) and np.allclose(result.sum(axis=2), 1, atol=0.01)):
        raise _error(file, "its output is no probabilities. Export it with the softmax at its end.")
    return int(result.shape[2])


def _from_file(file: Path, options: TextOptions) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise PipelineError(
            f"{options.charset_name} names {file.name}: there is no such file. It takes a text file with one "
            "character per line."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise PipelineError(
            f"{options.charset_name} names {file.name}, which cannot be read as UTF-8 text. It takes a text "
            "file with one character per line."
        ) from error
    return _lines(text)


def _from_metadata(model: openvino.Model) -> list[str] | None:
    """Returns the characters in `metadata_props`, which OpenVINO keeps under "framework"."""
    information: Any = model.get_rt_info()
    if "framework" not in information or _METADATA not in information["framework"]:
        return None
    return _lines(str(information["framework"][_METADATA].value))


def _lines(text: str) -> list[str]:
    """Returns the lines. Other separators than a line feed are characters."""
    lines = text.removesuffix("\n").split("\n") if text else []
    return [line.removesuffix("\r") for line in lines]


def _error(file: Path, what: str) -> PipelineError:
    return PipelineError(f"The text recognizer {file.name} cannot be used: {what}")
