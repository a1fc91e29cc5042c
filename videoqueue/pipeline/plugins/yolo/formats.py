"""How pictures are prepared for each family of models, and how their outputs are decoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from videoqueue.errors import PipelineError
from videoqueue.pipeline.plugins.openvino import Array, Size
from videoqueue.pipeline.plugins.yolo import grey, heads
from videoqueue.pipeline.plugins.yolo.letterbox import Preprocessing
from videoqueue.pipeline.plugins.yolo.network import Network


class Family(StrEnum):
    """The values of the option yolo.family."""

    DARKNET = "darknet"
    END2END = "end2end"
    RTDETR = "rtdetr"
    YOLOV5 = "yolov5"
    YOLOV8 = "yolov8"
    YOLOX = "yolox"


@dataclass(frozen=True)
class OutputFormat:
    """How pictures are prepared for a model and its outputs are decoded.

    Attributes:
        family: The family.
        classes: The number of classes; None if the outputs do not show it.
        preprocessing: How the model expects pictures.
        decode: Decodes the outputs.
        iou: The intersection over union above which the weaker of two boxes of one class is removed, 0..1, as
            in the family's own code; None if an object has one box.
    """

    family: Family
    classes: int | None
    preprocessing: Preprocessing
    decode: heads.Decode
    iou: float | None = None


COMMON = Preprocessing(center_pad=True, pad_value=114, rgb=True, scale=255)
DARKNET = replace(COMMON, pad_value=128)
_YOLOX = Preprocessing(center_pad=False, pad_value=114, rgb=False, scale=1)
_RTDETR = replace(COMMON, stretch=True)
# The values of a grey picture, as most families and as YOLOX expect them.
_GREY, _GREY_OF_YOLOX = 114 / 255, 114
# Of `detect.py` of YOLOv5 and 7, YOLOv6's `infer.py`, YOLOX's `onnx_inference.py` and Darknet.
EARLIER_IOU = 0.45
# Of the ultralytics package.
_YOLOV8_IOU = 0.7

SUPPORTED = (
    "Supported are (1, 4 + classes, n) and (1, n, 5 + classes), with n boxes for the cells of the input's "
    "grid, (1, n, 6) with final boxes, (1, n, 4 + classes) with RT-DETR's boxes between 0 and 1, and "
    "Darknet's heads with anchors in the metadata."
)

_DecodeOne = Callable[[Array, float], heads.Candidates]


def output_format(
    family: Family, classes: int | None, index: int, network: Network, explicit: bool
) -> OutputFormat:
    """Returns the format of a model.

    Args:
        family: The family that the shape of the output shows, or that the operator has set.
        classes: The number of classes; None if the outputs do not show it.
        index: Which of the outputs has the boxes.
        network: The model. It may be run on a grey picture to see the units of its boxes.
        explicit: Whether the operator has set the family.

    Raises:
        PipelineError: The units of the boxes do not fit the family or are ambiguous.
    """
    if family is Family.YOLOX:
        return _single_anchor(classes, index, network, explicit)
    if family is Family.YOLOV5:
        return _dense(family, classes, index, network, heads.decode_with_objectness, EARLIER_IOU)
    if family is Family.YOLOV8:
        return _dense(family, classes, index, network, heads.decode_anchor_free, _YOLOV8_IOU)
    return _one_box_per_object(family, classes, index, network, explicit)


def _dense(
    family: Family, classes: int | None, index: int, network: Network, decode: _DecodeOne, iou: float
) -> OutputFormat:
    """Every cell has boxes, in pixels or in shares of the picture's sides."""
    output = grey.output_for_grey(network, index, _GREY)
    rows = output.T if family is Family.YOLOV8 else output
    grey.check_scores(rows[:, 4:] if family is Family.YOLOV8 else rows[:, 4:5] * rows[:, 5:], network)
    shares = grey.are_shares(rows[:, :4])
    return OutputFormat(family, classes, COMMON, _decoder(decode, index, shares), iou)


def _one_box_per_object(
    family: Family, classes: int | None, index: int, network: Network, explicit: bool
) -> OutputFormat:
    """Distinguishes final corners in pixels from RT-DETR's centres in shares of the picture's sides."""
    output = grey.output_for_grey(network, index, _GREY)
    if grey.are_empty(output[:, :4]):
        return _units_by_frame(family, classes, index, network, explicit)
    shares = grey.are_shares(output[:, :4])
    if not explicit:
        _check_units(family, output, shares, index, network)
    if family is Family.END2END and (explicit or not shares):
        grey.check_scores(output[:, 4], network)
        grey.check_class_numbers(output[:, 5], network)
        return OutputFormat(family, classes, COMMON, _decoder(heads.decode_finished, index, shares))
    best_only = output.shape[1] == 6 and heads.are_whole(output[:, 5])
    grey.check_scores(output[:, 4:5] if best_only else output[:, 4:], network)
    decode = heads.decode_six_columns if output.shape[1] == 6 else heads.decode_queries
    known = None if best_only else output.shape[1] - 4
    return OutputFormat(Family.RTDETR, known, _RTDETR, _decoder(decode, index, shares))


def _units_by_frame(
    family: Family, classes: int | None, index: int, network: Network, explicit: bool
) -> OutputFormat:
    """The model finds nothing in a grey picture, so that the boxes of a frame must show their unit."""
    if family is Family.RTDETR and not explicit:
        raise _without_shares(index, network)
    queries = heads.decode_queries if classes else heads.decode_six_columns
    decode = heads.decode_finished if family is Family.END2END else queries

    def decode_output(outputs: Sequence[Array], size: Size, min_score: float) -> heads.Candidates:
        found = decode(outputs[index][0], min_score)
        if not grey.are_shares(found.corners):
            return found
        if not explicit:
            raise network.error(
                "it returned boxes between 0 and 1. They may be corners or centre and size. Set "
                f"{network.settings.family} to {Family.END2END} for corners, else to {Family.RTDETR}."
            )
        return heads.in_pixels(found, size)

    return OutputFormat(family, classes, _RTDETR if family is Family.RTDETR else COMMON, decode_output)


def _check_units(family: Family, output: Array, shares: bool, index: int, network: Network) -> None:
    """Refuses boxes that may be corners or centre and size, and centres in pixels."""
    height, width = network.size
    centres = grey.are_centres(output[:, :4], (1, 1) if shares else (width, height))
    final, setting = family is Family.END2END, network.settings.family
    if shares and not centres:
        raise network.error(
            f"its boxes are between 0 and 1, and may be corners or centre and size. Set {setting} to "
            + (
                f"{Family.END2END} for corners, else to {Family.RTDETR}."
                if final
                else f"{Family.RTDETR} if they are centre and size. Corners with a score for each class are "
                "not supported."
            )
        )
    if final and centres and not shares:
        raise network.error(
            f"its boxes seem to be centre and size in pixels, not corners. Set {setting} to {Family.RTDETR} "
            f"if they are, to {Family.END2END} if they are corners."
        )
    if not final and not shares:
        raise _without_shares(index, network)


def _without_shares(index: int, network: Network) -> PipelineError:
    return network.error(
        f"its output is {network.shapes[index]}, without boxes between 0 and 1. {SUPPORTED} If it is one of "
        f"them, set {network.settings.family}; {Family.RTDETR} also reads centre and size in pixels."
    )


def _single_anchor(classes: int | None, index: int, network: Network, explicit: bool) -> OutputFormat:
    """Distinguishes raw YOLOX, decoded YOLOX and YOLOv6 by their outputs for a grey picture."""
    output = grey.output_for_grey(network, index, _GREY_OF_YOLOX)
    in_pixels = bool(output[:, :2].max() > max(network.size) / 4)
    if in_pixels and not explicit and bool((output[:, 4] == 1).all()):
        return output_format(Family.YOLOV5, classes, index, network, explicit)
    grey.check_scores(output[:, 4:5] * output[:, 5:], network)
    if in_pixels:
        decode = _decoder(heads.decode_with_objectness, index)
        return OutputFormat(Family.YOLOX, classes, _YOLOX, decode, EARLIER_IOU)

    def decode_cells(outputs: Sequence[Array], size: Size, min_score: float) -> heads.Candidates:
        return heads.decode_yolox(outputs[index][0], size, min_score)

    return OutputFormat(Family.YOLOX, classes, _YOLOX, decode_cells, EARLIER_IOU)


def _decoder(decode: _DecodeOne, index: int, shares: bool = False) -> heads.Decode:
    def decode_output(outputs: Sequence[Array], size: Size, min_score: float) -> heads.Candidates:
        found = decode(outputs[index][0], min_score)
        return heads.in_pixels(found, size) if shares else found

    return decode_output
