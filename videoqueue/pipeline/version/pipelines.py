"""The version of a pipeline whose plugins are loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from videoqueue.pipeline.definitions.definition import BUILT_IN_FOLDER, PipelineDefinition
from videoqueue.pipeline.version.contents import Contents, files_below
from videoqueue.pipeline.version.distributions import installed_versions

_ROOT = Path(__file__).parents[2]
#: The packages whose source decides what a video gives; a test compares them with what the pipeline imports.
PACKAGES = ("mp4", "pipeline")
#: The distributions that the pipeline and its own plugins compute with.
LIBRARIES = ("av", "numpy", "opencv-python-headless", "openvino", "rapidocr")


@lru_cache(maxsize=1)
def code_of_process() -> Mapping[str, Any]:
    """What this process runs every pipeline with, read at the first call: make it when the process starts."""
    plugins = [folder for folder in (_ROOT / "pipeline" / "plugins").iterdir() if folder.is_dir()]
    return {
        "files": {
            name: Contents.of(files_below(_ROOT / name, BUILT_IN_FOLDER, *plugins)).digests
            for name in PACKAGES
        },
        "distributions": installed_versions(*LIBRARIES),
    }


def pipeline_version(
    definition: PipelineDefinition, plugins: Mapping[str, Any], code: Mapping[str, Any]
) -> str:
    """A SHA-256, hexadecimal.

    Args:
        plugins: for each plugin of the definition what `PluginVersion.of_loaded` returns.
        code: what every pipeline of the process depends on.
    """
    parts = {"definition": _canonical(definition), "plugins": plugins, "code": code}
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(definition: PipelineDefinition) -> dict[str, Any]:
    """The definition without what has no influence on results.

    The order of nodes and edges has none, as a node's inputs come from the edges. The order of the outputs
    decides that of the keys in a result.
    """
    return {
        "nodes": sorted([node.id, node.plugin, node.tool] for node in definition.nodes),
        "edges": sorted([edge.source, edge.target] for edge in definition.edges),
        "output_nodes": list(definition.output_nodes),
    }
