"""Finds objects in a frame: YOLO models in ONNX on OpenVINO; YOLOv3-tiny comes with the package.

Options, all of them optional:

    yolo.model     path of an ONNX file; `families` tells which exports can be read. Default: YOLOv3-tiny
    yolo.labels    path of a text file with the name of every class, one a line, in the model's order
    yolo.family    how the model is to be read, if it cannot be told from the file: a value of `Family`
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from videoqueue.pipeline.plugin import Manifest, PluginOptions, Tool
from videoqueue.pipeline.plugins.yolo.detector import Detector
from videoqueue.pipeline.plugins.yolo.families import identify
from videoqueue.pipeline.plugins.yolo.labels import known_names, labels_for
from videoqueue.pipeline.plugins.yolo.network import Network

DEFAULT_MODEL = Path(__file__).parent / "yolov3-tiny.onnx"


class YoloPlugin:
    """Can be used by several threads at once. `model` tells one model, read in one way, from others."""

    def __init__(self, detector: Detector, model: str) -> None:
        self._detector = detector
        self.manifest = Manifest(
            name="yolo",
            version=f"1.0+{model}",
            tools={"detect": Tool(inputs={"image": "image"}, outputs={"detections": "detections"})},
        )

    def run_tool(self, tool: str, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """`detect`: the objects in the frame, the surest first."""
        return {"detections": self._detector.detect(inputs["image"])}


def create(options: PluginOptions) -> YoloPlugin:
    """Loads the model: some tenths of a second.

    Raises:
        PipelineError: model or labels are missing or cannot be used; the text says what to change.
    """
    values = options.values
    network = Network(Path(values.get("yolo.model") or DEFAULT_MODEL), options.inference_threads)
    names = known_names(values.get("yolo.labels"), network)
    reading = identify(network, values.get("yolo.family"), None if names is None else len(names))
    labels = labels_for(names, reading.classes, network)
    seen = hashlib.sha256(f"{network.checksum} {reading.family} {labels}".encode())
    return YoloPlugin(Detector(network, reading, labels), seen.hexdigest()[:8])
