"""Reads the text in a frame with the PP-OCRv6 models of RapidOCR, in 8 bits, on OpenVINO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from videoqueue.pipeline.plugin import Manifest, PluginOptions, Tool
from videoqueue.pipeline.plugins.ocr.reading_order import in_reading_order


class OcrPlugin:
    """The plugin. Several threads may call it at once."""

    manifest = Manifest(
        name="ocr",
        version="1.1",
        tools={
            "read": Tool(inputs={"image": "image"}, outputs={"text": "text", "text_blocks": "text_blocks"})
        },
    )

    def __init__(self, options: PluginOptions) -> None:
        """Loads the models, which takes some tenths of a second."""
        # Importing OpenVINO takes a second, and some processes read the manifest only.
        from videoqueue.pipeline.plugins.ocr.engine import TextEngine

        self._engine = TextEngine(options.inference_threads)

    def run_tool(self, tool: str, inputs: Mapping[str, Any]) -> Mapping[str, object]:
        """Runs `read`. Returns the text blocks in reading order, and their texts, one per line."""
        blocks = in_reading_order(self._engine.read(inputs["image"]))
        return {"text": "\n".join(block["text"] for block in blocks), "text_blocks": blocks}


create = OcrPlugin
