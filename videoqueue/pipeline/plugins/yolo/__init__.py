"""Detects objects in a frame with YOLO models in ONNX on OpenVINO. The package includes YOLOv3-tiny.

Options, all of them optional:

    yolo.model     the path of an ONNX file; `families` lists the supported exports. Default: YOLOv3-tiny
    yolo.labels    the path of a text file with the name of every class, one per line, in the model's order
    yolo.family    the format of the outputs, if the file does not show it: a value of `Family`
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videoqueue.pipeline.plugin import Manifest, PluginOptions, Tool

if TYPE_CHECKING:
    from videoqueue.pipeline.plugins.yolo.detector import ObjectDetector

DEFAULT_MODEL = Path(__file__).parent / "yolov3-tiny.onnx"
_TOOLS = {"detect": Tool(inputs={"image": "image"}, outputs={"detections": "detections"})}


class YoloPlugin:
    """The plugin. The version in the manifest of a loaded plugin also identifies the model and its format.

    Raises:
        PipelineError: The model or the labels are missing or cannot be used. The text says what to change.
    """

    manifest = Manifest("yolo", "1.0", _TOOLS)

    def __init__(self, options: PluginOptions) -> None:
        """Loads the model, which takes some tenths of a second."""
        self._detector, model = _load(options)
        self.manifest = Manifest("yolo", f"1.0+{model}", _TOOLS)

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
    identity = hashlib.sha256(f"{network.checksum} {output_format.family} {labels}".encode())
    return ObjectDetector(network, output_format, labels), identity.hexdigest()[:8]


create = YoloPlugin
