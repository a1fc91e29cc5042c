"""Checks pipelines with the plugins that they use, and reports every fault. Loading stops at the first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from videoqueue.errors import VideoqueueError
from videoqueue.pipeline.definitions.definition import PipelineDefinition, file_name, read_drafts
from videoqueue.pipeline.definitions.faults import Fault
from videoqueue.pipeline.definitions.fields import at_node
from videoqueue.pipeline.definitions.links import link_faults
from videoqueue.pipeline.plugin import Manifest
from videoqueue.pipeline.registry import PluginRegistry, reason

__all__ = ["Fault", "PipelineReport", "check_definitions", "check_pipelines"]


@dataclass(frozen=True)
class PipelineReport:
    """A pipeline file and its faults. Without faults, `pipeline` can run."""

    pipeline: PipelineDefinition
    faults: tuple[Fault, ...]


def check_pipelines(registry: PluginRegistry, *folders: Path) -> list[PipelineReport]:
    """Checks the built-in pipelines and every `*.json` of the folders: files, graphs and plugins.

    Returns:
        A report for each file.
    """
    drafts = list(read_drafts(*folders))
    plugins = _Plugins(registry, (draft.pipeline for draft in drafts))
    return [
        PipelineReport(
            draft.pipeline,
            (*draft.faults, *plugins.faults(draft.pipeline, draft.where, draft.connected)),
        )
        for draft in drafts
    ]


def check_definitions(definitions: Mapping[str, PipelineDefinition], registry: PluginRegistry) -> list[Fault]:
    """Checks loaded pipelines against the installed plugins.

    A plugin is created only if its factory does not declare the manifest. It then stays in the registry.

    Returns:
        Every fault; empty if all pipelines can run.
    """
    plugins = _Plugins(registry, definitions.values())
    return [
        fault
        for definition in definitions.values()
        for fault in plugins.faults(definition, file_name(definition.id))
    ]


class _Plugins:
    """The manifest of each plugin that the pipelines use, or the reason why there is none."""

    def __init__(self, registry: PluginRegistry, pipelines: Iterable[PipelineDefinition]) -> None:
        self._manifests: dict[str, Manifest] = {}
        self._missing: dict[str, str] = {}
        for name in {node.plugin for pipeline in pipelines for node in pipeline.nodes if node.plugin}:
            try:
                self._manifests[name] = registry.manifest(name)
            except VideoqueueError as error:
                self._missing[name] = reason(error)

    def faults(self, pipeline: PipelineDefinition, where: str, connected: bool = True) -> Iterable[Fault]:
        for node in pipeline.nodes:
            if node.plugin in self._missing:
                yield Fault(at_node(where, node.id), self._missing[node.plugin])
        yield from link_faults(pipeline, self._manifests, where, connected)
