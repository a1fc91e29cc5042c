"""The version of a pipeline whose plugins are loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TypedDict

from videoqueue.pipeline.definitions.definition import BUILT_IN_FOLDER, PipelineDefinition
from videoqueue.pipeline.version.contents import Contents, files_below
from videoqueue.pipeline.version.distributions import installed_versions
from videoqueue.pipeline.version.plugins import LoadedVersion

_ROOT = Path(__file__).parents[2]
#: The packages whose source determines results. A test compares them with what the pipeline imports.
PACKAGES = ("mp4", "pipeline")
#: The distributions that the pipeline and its own plugins compute with.
LIBRARIES = ("av", "numpy", "opencv-python-headless", "openvino", "rapidocr")

#: Changes when results are stored in a form that older releases cannot read. A worker of an older release,
#: which may run at the same time, then begins a job anew instead of continuing chunks that it cannot read.
_STORED_FORM = "zlib-lines"


class CodeVersion(TypedDict):
    """What every pipeline of a process runs with: the SHA-256 of source files, and versions of libraries."""

    files: Mapping[str, Mapping[str, str | None]]
    distributions: Mapping[str, str | None]


@lru_cache(maxsize=1)
def code_of_process() -> CodeVersion:
    """Returns the code of this process. It is read at the first call: call it when the process starts."""
    plugins = [folder for folder in (_ROOT / "pipeline" / "plugins").iterdir() if folder.is_dir()]
    return {
        "files": {
            name: Contents.of(files_below(_ROOT / name, BUILT_IN_FOLDER, *plugins)).digests
            for name in PACKAGES
        },
        "distributions": installed_versions(*LIBRARIES),
    }


def pipeline_version(
    definition: PipelineDefinition, plugins: Mapping[str, LoadedVersion], code: Mapping[str, object]
) -> str:
    """Returns the version of a pipeline: a SHA-256 in hexadecimal.

    Args:
        definition: The pipeline.
        plugins: The version of each plugin that it uses.
        code: What every pipeline of the process depends on; plain JSON.
    """
    parts = {
        "definition": _canonical(definition),
        "plugins": plugins,
        "code": code,
        "stored_form": _STORED_FORM,
    }
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(definition: PipelineDefinition) -> dict[str, object]:
    """Returns the parts of a definition that influence results.

    The order of nodes and edges does not: the edges determine a node's inputs. The order of the outputs
    does: it is the order of the keys in a result.
    """
    return {
        "nodes": sorted([node.id, node.plugin, node.tool] for node in definition.nodes),
        "edges": sorted([edge.source, edge.target] for edge in definition.edges),
        "output_nodes": list(definition.output_nodes),
    }
