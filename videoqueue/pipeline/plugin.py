"""What a plugin is: all that a plugin's author has to know, and all that the pipeline knows of a plugin.

A plugin has a name and a few tools. A tool takes named inputs and gives named outputs; its manifest says
which, with a type name for each. An input called "image" is the frame itself; every other input comes from
the outputs, of the same name and type, of the nodes before it.

Type names in use (a plugin may add its own):

    image        the upright frame: numpy uint8, (height, width, 3), channels blue, green, red, C-contiguous.
                 BGR is what OpenCV and the models trained with it expect. Never write into it.
    text         str
    text_blocks  list of {"text": str, "confidence": float 0..1, "box": [x1, y1, x2, y2]}
    detections   list of {"label": str, "confidence": float 0..1, "box": [x1, y1, x2, y2]}

Boxes are whole pixels of the upright frame, with 0 <= x1 <= x2 <= width and 0 <= y1 <= y2 <= height.

Outputs are stored as JSON: plain str, int, float, bool, None, list and dict, no numpy scalar, no NaN, whole
numbers of at most 64 bits, lists and dicts nested at most 32 deep; a lone surrogate becomes U+FFFD. The
same image must always give the same outputs, whatever came before it: an interrupted job is resumed, and its
results must be those of an undisturbed run.

A package offers a plugin through the entry-point group `videoqueue.plugins`: the entry point's name is the
plugin's name, its object a `PluginFactory`. If the factory has an attribute `manifest`, that is read without
making the plugin; a class can be its own factory.

    class Brightness:
        manifest = Manifest("brightness", "1.0", {"mean": Tool({"image": "image"}, {"brightness": "number"})})

        def __init__(self, options): ...

        def run_tool(self, tool, inputs):
            return {"brightness": round(float(inputs["image"].mean()), 2)}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Tool:
    """What a tool takes and gives: name -> type name."""

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class Manifest:
    """Who a plugin is. `version` changes whenever the same image may give other outputs."""

    name: str
    version: str
    tools: Mapping[str, Tool]


@dataclass(frozen=True)
class PluginOptions:
    """What every plugin is made with.

    `inference_threads`: how many frames are processed at once, at least 1. So many threads call a plugin, and
    all calls together should keep no more processor threads busy. `values`: what the operator has set for
    plugins, by name, such as "yolo.model"; a plugin reads those that begin with its own name.
    """

    inference_threads: int = 1
    values: Mapping[str, str] = field(default_factory=dict)


class Plugin(Protocol):
    """A loaded plugin. It is made once per process, stays warm, and is called by several threads at once.

    What is not safe to share between threads it guards itself, with a lock or one copy for each thread.
    """

    @property
    def manifest(self) -> Manifest: ...

    def run_tool(self, tool: str, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Runs one tool on one frame and returns exactly the outputs its manifest names.

        Any exception fails the job. A `PermanentError`'s text is shown to the user; of other exceptions only
        the log keeps the reason. A `TransientError` makes the job try again later.
        """
        ...


PluginFactory = Callable[[PluginOptions], Plugin]
