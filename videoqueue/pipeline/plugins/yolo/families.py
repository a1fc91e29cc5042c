"""What the exporters of YOLO models write, and how one is told from another.

    family    versions of YOLO      output                       picture
    yolov8    8, 9, 11, 12          (1, 4 + classes, n)          middle, grey 114, RGB, 0..1
    yolov5    5, 6, 7               (1, n, 5 + classes)          middle, grey 114, RGB, 0..1
    end2end   10, 26, "nms=True"    (1, n, 6)                    middle, grey 114, RGB, 0..1
    yolox     YOLOX from 0.2        (1, n, 5 + classes)          top left, grey 114, BGR, 0..255
    darknet   2 to 4, converted     (1, a * (5 + classes), h, w) middle, grey 128, RGB, 0..1
                                    for each scale

The shape decides. n is known beforehand: yolov8 and yolox have one box for each cell of their grids, yolov5
has three; a model with any other n and six columns has finished its boxes itself. What then still has two
readings is told apart by what is known of the exporters:

- The ultralytics package writes `task` and writes neither yolov5 nor yolox; YOLOv5 itself writes `stride`,
  YOLOX nothing.
- The number of class names, where there are names, must be that of the classes.
- One box a cell with objectness is yolox or YOLOv6. A grey picture shows whether centres are in cells, which
  only yolox gives, or in pixels; YOLOv6 fills the objectness with ones.

If two readings remain the model is refused: a wrong one would find wrong boxes and say nothing. darknet needs
`anchors` [[width, height], ...] in pixels and `masks` [[anchor, ...], ...], one for each output, in the
metadata; `scripts/convert_yolov3_tiny` writes them.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from videoqueue.errors import PipelineError
from videoqueue.pipeline.plugins.yolo import heads
from videoqueue.pipeline.plugins.yolo.letterbox import Preprocessing
from videoqueue.pipeline.plugins.yolo.network import Array, Network


class Family(StrEnum):
    """The values of the option yolo.family."""

    DARKNET = "darknet"
    END2END = "end2end"
    YOLOV5 = "yolov5"
    YOLOV8 = "yolov8"
    YOLOX = "yolox"


@dataclass(frozen=True)
class OutputFormat:
    """How a model is read.

    `classes` is their number, None if the outputs do not tell; `overlapping` says that an object may have
    several boxes, of which the best must be picked.
    """

    family: Family
    classes: int | None
    preprocessing: Preprocessing
    decode: heads.Decode
    overlapping: bool = True


_COMMON = Preprocessing(center_pad=True, pad_value=114, rgb=True, scale=255)
_DARKNET = Preprocessing(center_pad=True, pad_value=128, rgb=True, scale=255)
_YOLOX = Preprocessing(center_pad=False, pad_value=114, rgb=False, scale=1)
# Strides in pixels of the grids of the usual models, of tiny ones, and of those for large and small objects.
_GRIDS = ((8, 16, 32), (16, 32), (8, 16, 32, 64), (4, 8, 16, 32))
_ANCHORS_A_CELL = 3
_READABLE = (
    "Read are (1, 4 + classes, n) and (1, n, 5 + classes), with n boxes for the cells of the input's grid, "
    "(1, n, 6) with finished boxes, and Darknet's heads with anchors in the metadata."
)


def identify(network: Network, wanted: str | None, names: int | None) -> OutputFormat:
    """Finds out how a model is read.

    `wanted` is the operator's word for it; `names` is the number of class names, None if nobody gave any.

    Raises:
        PipelineError: the model is for another task, or is not one that can be read; the text says what was
            found and what is read.
    """
    if wanted and wanted not in list(Family):
        raise PipelineError(f"VIDEOQUEUE_YOLO_FAMILY is {wanted!r}: it takes {', '.join(Family)}.")
    task = network.metadata.get("task", "detect")
    if task != "detect":
        raise network.fault(f"its task is {task!r}. Only 'detect' is read: export a model for detection.")
    if all(len(shape) == 4 for shape in network.shapes):
        return _darknet(network, wanted)
    index = _main_output(network)
    shape = network.shapes[index]
    if wanted:
        family = Family(wanted)
        readings = {family: _classes(family, shape, network.size)}
    else:
        readings = _likely(shape, network, names)
    readings = {family: classes for family, classes in readings.items() if classes != 0}
    if len(readings) == 1:
        ((family, classes),) = readings.items()
        return _output_format(family, classes, index, network, sure=bool(wanted))
    if readings:
        raise network.fault(
            f"its output {shape} can be read as {' or as '.join(sorted(readings))}. "
            "Set VIDEOQUEUE_YOLO_FAMILY to one."
        )
    said = f", and VIDEOQUEUE_YOLO_FAMILY is {wanted}" if wanted else ""
    raise network.fault(
        f"its output is {shape}{said}. {_READABLE} If it is one of them, set VIDEOQUEUE_YOLO_FAMILY."
    )


def _main_output(network: Network) -> int:
    """The only output of three dimensions. YOLOv5 and 7 may repeat it as raw heads, which have five."""
    main = [index for index, shape in enumerate(network.shapes) if len(shape) == 3 and shape[0] in (1, -1)]
    others = [shape for shape in network.shapes if len(shape) != 5]
    if len(main) != 1 or len(others) != 1:
        found = ", ".join(str(shape) for shape in network.shapes)
        raise network.fault(f"its outputs are {found}. {_READABLE} Export it with a single output.")
    return main[0]


def _likely(shape: Sequence[int], network: Network, names: int | None) -> dict[Family, int | None]:
    """The families that would give such an output, with the number of classes it then has."""
    _, rows, columns = shape
    single = [_cells(network.size, grid) for grid in _GRIDS]
    triple = [_ANCHORS_A_CELL * cells for cells in single]
    fits = {
        Family.YOLOV5: rows in triple and "task" not in network.metadata,
        Family.YOLOX: rows == single[0] and not {"task", "stride"} & set(network.metadata),
        Family.YOLOV8: columns in single,
        Family.END2END: rows not in single + triple,
    }
    found = {family: _classes(family, shape, network.size) for family in fits if fits[family]}
    matching = {family: classes for family, classes in found.items() if classes in (names, None)}
    # Where no reading has as many classes as there are names, the names are at fault: others report that.
    return matching if names is not None and matching else found


def _classes(family: Family, shape: Sequence[int], size: tuple[int, int]) -> int | None:
    """How many classes an output has, read as that family's; 0 if it cannot be, None if it does not tell."""
    _, rows, columns = shape
    if family is Family.YOLOV8:
        return max(0, rows - 4)
    if family is Family.YOLOV5 or (family is Family.YOLOX and rows == _cells(size, heads.YOLOX_STRIDES)):
        return max(0, columns - 5)
    return None if family is Family.END2END and columns == 6 else 0


def _cells(size: tuple[int, int], strides: Sequence[int]) -> int:
    return sum((size[0] // stride) * (size[1] // stride) for stride in strides)


def _output_format(
    family: Family, classes: int | None, index: int, network: Network, sure: bool
) -> OutputFormat:
    if family is Family.YOLOX:
        return _single_anchor(classes, index, network, sure)
    decode = {
        Family.YOLOV5: heads.decode_with_objectness,
        Family.YOLOV8: heads.decode_anchor_free,
        Family.END2END: heads.decode_finished,
    }[family]
    return OutputFormat(
        family,
        classes,
        _COMMON,
        lambda outputs, least: decode(outputs[index][0], least),
        overlapping=family is not Family.END2END,
    )


def _single_anchor(classes: int | None, index: int, network: Network, sure: bool) -> OutputFormat:
    """One box a cell with objectness: YOLOX raw, YOLOX decoded, or YOLOv6, told by a picture of one grey."""
    output = network.run(np.full((1, 3, *network.size), 114, np.float32))[index][0]
    in_pixels = bool(output[:, :2].max() > max(network.size) / 4)
    if in_pixels and not sure and bool((output[:, 4] == 1).all()):
        return _output_format(Family.YOLOV5, classes, index, network, sure)

    def decode(outputs: Sequence[Array], least: float) -> heads.Candidates:
        if in_pixels:
            return heads.decode_with_objectness(outputs[index][0], least)
        return heads.decode_yolox(outputs[index][0], network.size, least)

    return OutputFormat(Family.YOLOX, classes, _YOLOX, decode)


def _darknet(network: Network, wanted: str | None) -> OutputFormat:
    if wanted not in (None, "", Family.DARKNET):
        raise network.fault(
            f"its outputs are heads of Darknet, and VIDEOQUEUE_YOLO_FAMILY is {wanted}. {_READABLE}"
        )
    try:
        every = np.array(ast.literal_eval(network.metadata["anchors"]), np.float64).reshape(-1, 2)
        anchors = [every[mask] for mask in ast.literal_eval(network.metadata["masks"])]
    except (KeyError, ValueError, TypeError, IndexError, SyntaxError) as error:
        raise network.fault(
            f"its outputs are {', '.join(str(shape) for shape in network.shapes)}, and its metadata has no "
            f"anchors [[width, height], ...] and masks [[anchor, ...], ...] for them. {_READABLE}"
        ) from error
    counts = {
        shape[1] / len(mask) - 5 if len(mask) else 0.0
        for shape, mask in zip(network.shapes, anchors, strict=False)
    }
    classes = int(max(counts))
    if len(anchors) != len(network.shapes) or counts != {classes} or classes < 1:
        raise network.fault(
            f"its outputs are {', '.join(str(shape) for shape in network.shapes)}, which does not fit masks "
            f"of {', '.join(str(len(mask)) for mask in anchors)} anchors."
        )

    def decode(outputs: Sequence[Array], least: float) -> heads.Candidates:
        return heads.decode_darknet([output[0] for output in outputs], anchors, network.size, least)

    return OutputFormat(Family.DARKNET, classes, _DARKNET, decode)
