"""Detects objects in a frame with a YOLO-like model on OpenVINO. The package includes NanoDet-g.

The name is historical: it means object detection by any YOLO-like model.

Options, all of them optional:

    yolo.model           the path of an ONNX file; `families` lists the supported exports. Default: NanoDet-g
    yolo.labels          the path of a text file with the name of every class, one per line, in the order of
                         the model
    yolo.family          the format of the outputs, if the file does not show it: a value of `Family`
    yolo.confidence      the lowest confidence that is reported, 0 to 1. Default: `confidence` in the metadata
                         of the model, or 0.25
    yolo.iou             the intersection over union, 0 to 1, above which the weaker of two boxes of a class
                         is removed. Default: `iou` in the metadata, or that of the family. Models with one
                         box per object do not use it
    yolo.max_detections  the most detections of a frame, those with the highest confidence. Default: 300
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videoqueue.pipeline.plugin import Manifest, PluginOptions, Tool
from videoqueue.pipeline.plugins.options import share_option, whole_option

if TYPE_CHECKING:
    from videoqueue.pipeline.plugins.yolo.detector import ObjectDetector, Thresholds
    from videoqueue.pipeline.plugins.yolo.formats import OutputFormat
    from videoqueue.pipeline.plugins.yolo.network import Network

DEFAULT_MODEL = Path(__file__).parent / "weights" / "nanodet-g_int8.xml"
_TOOLS = {"detect": Tool(inputs={"image": "image"}, outputs={"detections": "detections"})}


class YoloPlugin:
    """The plugin. The version in the manifest of a loaded plugin also identifies the model and its format.

    Raises:
        PipelineError: The model or the labels are missing or cannot be used. The text says what to change.
    """

    manifest = Manifest("yolo", "1.1", _TOOLS)

    def __init__(self, options: PluginOptions) -> None:
        """Loads the model, which takes some tenths of a second."""
        self._detector, model = _load(options)
        self.manifest = Manifest("yolo", f"1.1+{model}", _TOOLS)

    def run_tool(self, tool: str, inputs: Mapping[str, Any]) -> Mapping[str, object]:
        """Runs `detect`. Returns the objects in the frame in order of decreasing confidence."""
        return {"detections": self._detector.detect(inputs["image"])}


def _load(options: PluginOptions) -> tuple[ObjectDetector, str]:
    # Importing OpenVINO takes a second, and some processes read the manifest only.
    from videoqueue.pipeline.plugins.yolo.detector import ObjectDetector
    from videoqueue.pipeline.plugins.yolo.families import identify
    from videoqueue.pipeline.plugins.yolo.labels import known_names, labels_for
    from videoqueue.pipeline.plugins.yolo.network import Network, SettingNames

    values = options.values
    file = Path(values.get("yolo.model") or DEFAULT_MODEL)
    network = Network(file, options.inference_threads, SettingNames.of(options))
    names = known_names(values.get("yolo.labels"), network)
    output_format = identify(network, values.get("yolo.family"), None if names is None else len(names))
    labels = labels_for(names, output_format.classes, network)
    thresholds = _thresholds(options, network, output_format)
    identity = hashlib.sha256(f"{network.checksum} {output_format.family} {labels} {thresholds}".encode())
    return ObjectDetector(network, output_format, labels, thresholds), identity.hexdigest()[:8]


def _thresholds(options: PluginOptions, network: Network, output_format: OutputFormat) -> Thresholds:
    """Returns the operator's thresholds, else those of the model, else the defaults."""
    from videoqueue.pipeline.plugins.yolo import detector

    confidence = share_option(options, "yolo.confidence")
    if confidence is None:
        confidence = network.number("confidence")
    iou = output_format.iou
    if iou is not None:
        chosen = share_option(options, "yolo.iou"), network.number("iou")
        iou = next((number for number in chosen if number is not None), iou)
    return detector.Thresholds(
        detector.DEFAULT_CONFIDENCE if confidence is None else confidence,
        iou,
        whole_option(options, "yolo.max_detections") or detector.DEFAULT_MAX_DETECTIONS,
    )


create = YoloPlugin
