"""The cheapest plugin that still makes every frame be decoded and converted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from videoqueue.pipeline.plugin import Manifest, PluginOptions, Tool

PIPELINE = {
    "id": "brightness",
    "description": "How bright a frame is.",
    "nodes": [{"id": "measure", "plugin": "brightness", "tool": "measure"}],
    "edges": [],
    "entry_nodes": ["measure"],
    "output_nodes": ["measure"],
}


class Brightness:
    manifest = Manifest("brightness", "1", {"measure": Tool({"image": "image"}, {"brightness": "number"})})

    def __init__(self, options: PluginOptions) -> None:
        pass

    def run_tool(self, tool: str, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"brightness": round(float(inputs["image"][::16, ::16].mean()), 2)}
