"""Reads the text in a frame with the PP-OCRv6 models of RapidOCR, in 8 bits, on OpenVINO.

Options, all of them optional:

    ocr.detail       the longest side of the picture in which text is searched, 320 to 2560 pixels. Two thirds
                     of the frame's, but at least 960, if that is less. Default: 1920
    ocr.confidence   the lowest score of a line that is reported, 0 to 1. Default: 0.5
    ocr.recognizer   the path of a recognition model of PP-OCR in ONNX. Default: PP-OCRv6 small
    ocr.charset      the path of a text file with the characters of that model, one per line, in its order.
                     Default: those in the model's metadata
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from videoqueue.pipeline.plugin import Manifest, PluginOptions, Tool

_TOOLS = {"read": Tool(inputs={"image": "image"}, outputs={"text": "text", "text_blocks": "text_blocks"})}
_VERSION = "1.2"


class OcrPlugin:
    """The plugin. Several threads may call it at once.

    The version in the manifest of a loaded plugin also identifies the recognizer and the options.

    Raises:
        PipelineError: A model or an option cannot be used. The text says what to change.
    """

    manifest = Manifest("ocr", _VERSION, _TOOLS)

    def __init__(self, options: PluginOptions) -> None:
        """Loads the models, which takes some tenths of a second."""
        # Importing OpenVINO takes a second, and some processes read the manifest only.
        from videoqueue.pipeline.plugins.ocr.engine import TextEngine
        from videoqueue.pipeline.plugins.ocr.text_options import TextOptions

        self._engine = TextEngine(options.inference_threads, TextOptions.of(options))
        self.manifest = Manifest("ocr", f"{_VERSION}+{self._engine.identity}", _TOOLS)

    def run_tool(self, tool: str, inputs: Mapping[str, Any]) -> Mapping[str, object]:
        """Runs `read`. Returns the text blocks in reading order, and their texts, one per line."""
        blocks = self._engine.read(inputs["image"])
        return {"text": "\n".join(block["text"] for block in blocks), "text_blocks": blocks}


create = OcrPlugin
