"""Checks a plugin's manifest. The registry rejects a plugin whose manifest has a fault."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from videoqueue.pipeline.definitions.faults import shown
from videoqueue.pipeline.definitions.fields import NAME, NAME_RULE
from videoqueue.pipeline.plugin import IMAGE, Manifest, Tool


def manifest_faults(name: str, manifest: object) -> Iterator[str]:
    """Checks a manifest.

    Args:
        name: The name under which the plugin is installed.
        manifest: What the plugin has as its manifest.

    Returns:
        Every fault as a text that also says what to change.
    """
    if not isinstance(manifest, Manifest):
        yield (
            f"its manifest is {shown(manifest)}. Give it an attribute `manifest`, "
            "a videoqueue.pipeline.plugin.Manifest."
        )
        return
    if manifest.name != name:
        yield f"it is installed as {name!r} but calls itself {shown(manifest.name)}. Rename one."
    if not NAME.fullmatch(name):
        yield f"no pipeline can name it: {NAME_RULE}"
    if not _is_filled(manifest.version):
        yield f"its version is {shown(manifest.version)}. Give a text such as '1.0'."
    network: object = manifest.network
    if not isinstance(network, bool):
        yield f"its network is {shown(network)}. Give True or False."
    if not isinstance(manifest.tools, Mapping) or not manifest.tools:
        yield f"its tools are {shown(manifest.tools)}. Give at least one: {{name: Tool(inputs, outputs)}}."
        return
    for tool_name, tool in manifest.tools.items():
        if not isinstance(tool_name, str) or not NAME.fullmatch(tool_name):
            yield f"a tool is called {shown(tool_name)}: {NAME_RULE}"
        yield from (f"tool {shown(tool_name)}: {fault}" for fault in _tool_faults(tool))


def _tool_faults(tool: object) -> Iterator[str]:
    if not isinstance(tool, Tool):
        yield f"it is {shown(tool)}. Give a videoqueue.pipeline.plugin.Tool."
        return
    for kind, names in (("inputs", tool.inputs), ("outputs", tool.outputs)):
        if not isinstance(names, Mapping) or not names:
            yield f"its {kind} are {shown(names)}. Give at least one: {{name: type name}}."
            continue
        for key, type_name in names.items():
            if not _is_filled(key) or not _is_filled(type_name):
                yield f"its {kind} have {shown(key)}: {shown(type_name)}. Give two texts, name and type name."
    if isinstance(tool.inputs, Mapping) and tool.inputs.get(IMAGE, IMAGE) != IMAGE:
        yield f"its input {IMAGE!r} is the frame. Give it the type {IMAGE!r}, or another name."


def _is_filled(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
