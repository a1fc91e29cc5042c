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
from typing import TYPE_CHECKING, Any

from videoqueue.pipeline.plugin import Manifest, PluginOptions, Tool

if TYPE_CHECKING:
    from videoqueue.pipeline.plugins.yolo.detector import Detector

DEFAULT_MODEL = Path(__file__).parent / "yolov3-tiny.onnx"
_TOOLS = {"detect": Tool(inputs={"image": "image"}, outputs={"detections": "detections"})}


class YoloPlugin:
    """Can be used by several threads at once.

    The plugin's own manifest adds to the version what tells one model, read in one way, from others.

    Raises (when made):
        PipelineError: model or labels are missing or cannot be used; the text says what to change.
    """

    manifest = Manifest("yolo", "1.0", _TOOLS)

    def __init__(self, options: PluginOptions) -> None:
        """Loads the model: some tenths of a second."""
        self._detector, model = _load(options)
        self.manifest = Manifest("yolo", f"1.0+{model}", _TOOLS)

    def run_tool(self, tool: str, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """`detect`: the objects in the frame, the surest first."""
        return {"detections": self._detector.detect(inputs["image"])}


def _load(options: PluginOptions) -> tuple[Detector, str]:
    # The manifest is read where no frame will ever be, and OpenVINO takes a second to import.
    from videoqueue.pipeline.plugins.yolo.detector import Detector
    from videoqueue.pipeline.plugins.yolo.families import identify
    from videoqueue.pipeline.plugins.yolo.labels import known_names, labels_for
    from videoqueue.pipeline.plugins.yolo.network import Network

    values = options.values
    network = Network(Path(values.get("yolo.model") or DEFAULT_MODEL), options.inference_threads)
    names = known_names(values.get("yolo.labels"), network)
    output_format = identify(network, values.get("yolo.family"), None if names is None else len(names))
    labels = labels_for(names, output_format.classes, network)
    seen = hashlib.sha256(f"{network.checksum} {output_format.family} {labels}".encode())
    return Detector(network, output_format, labels), seen.hexdigest()[:8]


create = YoloPlugin
