"""The plugin contract: everything that a plugin's author has to know.

A plugin has a name and a few tools. A tool takes named inputs and returns named outputs. The manifest lists
both, with a type name for each. An input called "image" is the frame itself. Every other input is the output
of the same name and type of a node that an edge connects to this one.

Type names in use (a plugin may add its own):

    image        the upright frame: numpy uint8, (height, width, 3), channels blue, green, red, C-contiguous.
                 OpenCV and the models trained with it expect BGR. Never write into it.
    text         str
    text_blocks  list of {"text": str, "confidence": float 0..1, "box": [x1, y1, x2, y2]}
    detections   list of {"label": str, "confidence": float 0..1, "box": [x1, y1, x2, y2]}

Boxes are whole pixels of the upright frame, with 0 <= x1 <= x2 <= width and 0 <= y1 <= y2 <= height.
`videoqueue.pipeline.results` has them as Python types.

Outputs are stored as JSON: plain str, int, float, bool, None, list and dict, without numpy scalars and NaN.
Whole numbers have at most 64 bits. Lists and dicts are nested at most 32 deep. A lone surrogate becomes
U+FFFD. The same image must always produce the same outputs, whatever was processed before: an interrupted job
is resumed, and its results must equal those of an uninterrupted run.

A package offers a plugin through the entry-point group `videoqueue.plugins`. The entry point's name is the
plugin's name; its object is a `PluginFactory`. If the factory has an attribute `manifest`, it is read without
creating the plugin. A class can be its own factory.

Example:
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

#: The name of the input that is the frame itself, and its type name.
IMAGE = "image"


@dataclass(frozen=True)
class Tool:
    """What a tool takes and returns.

    Attributes:
        inputs: Type name by input name.
        outputs: Type name by output name.

    Example:
        >>> Tool(inputs={"image": "image"}, outputs={"brightness": "number"}).outputs["brightness"]
        'number'
    """

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class Manifest:
    """What a plugin declares about itself.

    Attributes:
        name: The name of the entry point.
        version: Changes whenever the same image may produce other outputs.
        tools: The tools by name.
        network: Whether the plugin opens network connections. It may do so only if the operator allows it.
    """

    name: str
    version: str
    tools: Mapping[str, Tool]
    network: bool = False


@dataclass(frozen=True)
class PluginOptions:
    """What every plugin is created with.

    Attributes:
        inference_threads: How many frames are processed at once, at least 1. All calls of a plugin together
            should keep no more processor threads busy than this.
        values: The operator's options for plugins by name, such as "yolo.model". A plugin reads those that
            begin with its own name.
        setting_names: The setting behind an option, where there is one; see `setting_name`.
    """

    inference_threads: int = 1
    values: Mapping[str, str] = field(default_factory=dict)
    setting_names: Mapping[str, str] = field(default_factory=dict)

    def setting_name(self, option: str) -> str:
        """Returns what the operator calls an option, for an error text that asks to change it.

        Args:
            option: A name such as "yolo.model".

        Returns:
            The setting's name, or the option's own name if no setting is known for it.

        Example:
            >>> PluginOptions(setting_names={"blur.radius": "BLUR_RADIUS"}).setting_name("blur.radius")
            'BLUR_RADIUS'
        """
        return self.setting_names.get(option, option)


class Plugin(Protocol):
    """A loaded plugin.

    It is created once in a process, stays loaded, and is called by several threads at once. State that
    threads must not share needs a lock, or one copy for each thread.
    """

    @property
    def manifest(self) -> Manifest:
        """Returns the manifest of the plugin as it is loaded."""
        ...

    def run_tool(self, tool: str, inputs: Mapping[str, Any]) -> Mapping[str, object]:
        """Runs one tool on one frame.

        Args:
            tool: The name of the tool in the manifest.
            inputs: Exactly the inputs that the manifest names. Never change them: other nodes get the same
                objects.

        Returns:
            Exactly the outputs that the manifest names.

        Raises:
            PermanentError: The job fails, and the user sees the text.
            TransientError: The job is tried again later.
            Exception: The job fails. The text goes to the log only.

        Example:
            >>> plugin.run_tool("read", {"image": image})
            {'text': 'BREAKING NEWS', 'text_blocks': [{'text': 'BREAKING NEWS', ...}]}
        """
        ...


#: Creates a plugin. It is called once in a process.
PluginFactory = Callable[[PluginOptions], Plugin]
