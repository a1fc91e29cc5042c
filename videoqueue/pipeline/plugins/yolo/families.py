"""The output formats of YOLO models, and how they are distinguished.

    family    models                     output                       picture
    yolov8    YOLOv8, 9, 11, 12          (1, 4 + classes, n)          centred, padding 114, RGB, 0..1
    yolov5    YOLOv5, 6, 7               (1, n, 5 + classes)          centred, padding 114, RGB, 0..1
    end2end   YOLOv10, 26, "nms=True"    (1, n, 6)                    centred, padding 114, RGB, 0..1
    rtdetr    RT-DETR                    (1, n, 4 + classes)          stretched, RGB, 0..1
                                         or (1, n, 6)
    yolox     YOLOX from 0.2             (1, n, 5 + classes)          top left, padding 114, BGR, 0..255
    darknet   YOLOv2 to 4, converted     (1, a * (5 + classes), h, w) centred, padding 128, RGB, 0..1
                                         for each scale

The shape determines the family. n is known: yolov8 and yolox have one box per cell of their grids, yolov5 has
three. A model with any other n and six columns returns final boxes. Where a shape fits two families, the
exporters distinguish them:

- The ultralytics package writes `task`, and exports neither yolov5 nor yolox. YOLOv5 itself writes `stride`.
  YOLOX writes no metadata.
- The number of class names, if there are names, must be the number of classes.

The outputs for a grey picture show the rest:

- One box per cell with objectness is yolox or YOLOv6. Centres are in cells (yolox only) or in pixels. YOLOv6
  sets the objectness to 1.
- Boxes of yolov8 and yolov5 between 0 and 1 are shares of the picture's sides.
- Six columns of end2end are corners in pixels, score, class. In those of rtdetr, boxes are centre and size in
  shares of the sides; then follow two probabilities, or score and class, which is a whole number.
- Boxes are centre and size if more of them are impossible as corners (x2 < x1) than as centre and size
  (outside of the picture).
- Scores must be probabilities, and classes whole numbers.

Final boxes of zeros show nothing. Then each frame shows whether its boxes are in pixels or shares.

If two families remain, the model is rejected: the wrong one would silently return wrong boxes. darknet needs
`anchors` [[width, height], ...] in pixels and `masks` [[anchor, ...], ...], one for each output, in the
metadata.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

import numpy as np

from videoqueue.errors import PipelineError
from videoqueue.pipeline.plugins.openvino import Array, Size
from videoqueue.pipeline.plugins.yolo import formats, heads
from videoqueue.pipeline.plugins.yolo.formats import SUPPORTED, Family, OutputFormat
from videoqueue.pipeline.plugins.yolo.network import Network

# Strides in pixels of the grids: of the usual models, of tiny ones, and of those for large or small objects.
_GRIDS = ((8, 16, 32), (16, 32), (8, 16, 32, 64), (4, 8, 16, 32))
_ANCHORS_PER_CELL = 3


def identify(network: Network, requested: str | None, names: int | None) -> OutputFormat:
    """Determines the output format of a model.

    Args:
        network: The model.
        requested: The family that the operator has set, if any.
        names: The number of class names; None if there are none.

    Returns:
        The output format.

    Raises:
        PipelineError: The model is for another task, or its format is not supported or ambiguous. The text
            says what was found and what is supported.
    """
    setting = network.settings.family
    if requested and requested not in list(Family):
        raise PipelineError(f"{setting} is {requested!r}: it takes {', '.join(Family)}.")
    task = network.metadata.get("task", "detect")
    if task != "detect":
        raise network.error(
            f"its task is {task!r}. Only 'detect' is supported: export a model for detection."
        )
    if all(len(shape) == 4 for shape in network.shapes):
        return _darknet(network, requested)
    index = _main_output(network)
    shape = network.shapes[index]
    if requested:
        family = Family(requested)
        candidates = {family: _classes(family, shape, network.size)}
    else:
        candidates = _likely(shape, network, names)
    candidates = {family: classes for family, classes in candidates.items() if classes != 0}
    if len(candidates) == 1:
        ((family, classes),) = candidates.items()
        return formats.output_format(family, classes, index, network, explicit=bool(requested))
    if candidates:
        raise network.error(
            f"its output {shape} can be read as {' or as '.join(sorted(candidates))}. Set {setting} to one."
        )
    with_setting = f", and {setting} is {requested}" if requested else ""
    raise network.error(
        f"its output is {shape}{with_setting}. {SUPPORTED} If it is one of them, set {setting}."
    )


def _main_output(network: Network) -> int:
    """Returns the only output with three dimensions. YOLOv5 and 7 may repeat it as raw heads with five."""
    main = [index for index, shape in enumerate(network.shapes) if len(shape) == 3 and shape[0] in (1, -1)]
    others = [shape for shape in network.shapes if len(shape) != 5]
    if len(main) != 1 or len(others) != 1:
        found = ", ".join(str(shape) for shape in network.shapes)
        raise network.error(f"its outputs are {found}. {SUPPORTED} Export it with a single output.")
    return main[0]


def _likely(shape: Sequence[int], network: Network, names: int | None) -> dict[Family, int | None]:
    """Returns the families with such an output, each with the number of classes that it would have."""
    _, rows, columns = shape
    single = [_cells(network.size, grid) for grid in _GRIDS]
    triple = [_ANCHORS_PER_CELL * cells for cells in single]
    fits = {
        Family.YOLOV5: rows in triple and "task" not in network.metadata,
        Family.YOLOX: rows == single[0] and not {"task", "stride"} & set(network.metadata),
        Family.YOLOV8: columns in single,
        Family.END2END: rows not in single + triple,
        Family.RTDETR: rows not in single + triple and columns not in [6, *single],
    }
    found = {family: _classes(family, shape, network.size) for family in fits if fits[family]}
    matching = {family: classes for family, classes in found.items() if classes in (names, None)}
    # If no family has as many classes as there are names, the names are wrong; `labels_for` reports that.
    return matching if names is not None and matching else found


def _classes(family: Family, shape: Sequence[int], size: tuple[int, int]) -> int | None:
    """Returns the number of classes of an output in that family; 0 if it does not fit, None if unknown."""
    _, rows, columns = shape
    if family is Family.YOLOV8:
        return max(0, rows - 4)
    if family is Family.YOLOV5 or (family is Family.YOLOX and rows == _cells(size, heads.YOLOX_STRIDES)):
        return max(0, columns - 5)
    if family is Family.RTDETR:
        return None if columns == 6 else max(0, columns - 4)
    return None if family is Family.END2END and columns == 6 else 0


def _cells(size: tuple[int, int], strides: Sequence[int]) -> int:
    return sum((size[0] // stride) * (size[1] // stride) for stride in strides)


def _darknet(network: Network, requested: str | None) -> OutputFormat:
    if requested not in (None, "", Family.DARKNET):
        raise network.error(
            f"its outputs are heads of Darknet, and {network.settings.family} is {requested}. {SUPPORTED}"
        )
    try:
        every = np.array(ast.literal_eval(network.metadata["anchors"]), np.float64).reshape(-1, 2)
        anchors = [every[mask] for mask in ast.literal_eval(network.metadata["masks"])]
    except (KeyError, ValueError, TypeError, IndexError, SyntaxError) as error:
        raise network.error(
            f"its outputs are {', '.join(str(shape) for shape in network.shapes)}, and its metadata has no "
            f"anchors [[width, height], ...] and masks [[anchor, ...], ...] for them. {SUPPORTED}"
        ) from error
    counts = {
        shape[1] / len(mask) - 5 if len(mask) else 0.0
        for shape, mask in zip(network.shapes, anchors, strict=False)
    }
    classes = int(max(counts))
    if len(anchors) != len(network.shapes) or counts != {classes} or classes < 1:
        raise network.error(
            f"its outputs are {', '.join(str(shape) for shape in network.shapes)}, which does not fit masks "
            f"of {', '.join(str(len(mask)) for mask in anchors)} anchors."
        )

    def decode(outputs: Sequence[Array], size: Size, min_score: float) -> heads.Candidates:
        return heads.decode_darknet([output[0] for output in outputs], anchors, size, min_score)

    return OutputFormat(Family.DARKNET, classes, formats.DARKNET, decode, formats.EARLIER_IOU)
