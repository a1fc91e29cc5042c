"""Makes a sandbox from the settings. It is a module of its own because `sandbox` must not import settings."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from videoqueue.errors import SettingsError
from videoqueue.pipeline.definitions.definition import PipelineDefinition, load_definitions
from videoqueue.pipeline.plugin import PluginOptions
from videoqueue.pipeline.registry import PluginRegistry
from videoqueue.sandbox.access import Access, Mode
from videoqueue.sandbox.limits import SandboxLimits
from videoqueue.sandbox.probe import walls_of
from videoqueue.sandbox.sandbox import Sandbox
from videoqueue.settings import Settings
from videoqueue.settings.capacity import needed_memory


def make_sandbox(
    settings: Settings,
    folder: Callable[[], Path] | None = None,
    network_pipelines: frozenset[str] = frozenset(),
) -> Sandbox:
    """Returns a sandbox with the limits that the settings name.

    Args:
        settings: the settings.
        folder: as in `Sandbox`.
        network_pipelines: as in `networked`.
    """
    access = sandbox_access(settings, network_pipelines)
    return Sandbox(settings.pipeline_options, sandbox_limits(settings), access, folder)


def sandbox_of_command(settings: Settings, folder: Callable[[], Path]) -> Sandbox:
    """Returns a sandbox for one video, outside a worker.

    Args:
        settings: the settings.
        folder: as in `Sandbox`.

    Raises:
        SettingsError: a part of the sandbox is required and missing.
        PermanentError: a pipeline or plugin has a fault, and plugins may use the network.
    """
    if settings.sandbox == "required":
        walls_of(sandbox_access(settings))
    if settings.plugin_network != "allowed":
        return make_sandbox(settings, folder)
    options = settings.pipeline_options
    folders = [Path(settings.pipelines_dir)] if settings.pipelines_dir else []
    registry = PluginRegistry(
        PluginOptions(options.inference_threads, options.plugin_values, options.setting_names)
    )
    return make_sandbox(settings, folder, networked(settings, load_definitions(*folders), registry))


def sandbox_access(settings: Settings, network_pipelines: frozenset[str] = frozenset()) -> Access:
    """Returns what the settings let a child process reach."""
    return Access(
        mode=cast(Mode, settings.sandbox),
        readable=tuple(filter(None, settings.sandbox_read.split(os.pathsep))),
        hidden=settings.data_paths,
        network_pipelines=network_pipelines,
    )


def networked(
    settings: Settings, pipelines: Mapping[str, PipelineDefinition], registry: PluginRegistry
) -> frozenset[str]:
    """Returns the pipelines that get the network: a plugin asks for it, and the operator allows it.

    Raises:
        VideoqueueError: A plugin cannot be imported, or violates the contract.
    """
    if settings.plugin_network != "allowed":
        return frozenset()
    return frozenset(
        name
        for name, definition in pipelines.items()
        if any(registry.manifest(node.plugin).network for node in definition.nodes)
    )


def sandbox_limits(settings: Settings) -> SandboxLimits:
    """Returns the limits of a child process that the settings name."""
    return SandboxLimits(
        memory_bytes=settings.sandbox_memory_bytes,
        file_bytes=settings.sandbox_file_bytes,
        scratch_bytes=settings.sandbox_scratch_bytes,
        open_files=settings.sandbox_open_files,
        log_lines=settings.sandbox_log_lines,
        jobs=settings.sandbox_jobs,
        job_seconds=settings.job_timeout_seconds,
        stall_seconds=settings.stall_timeout_seconds,
    )


def check_memory(settings: Settings) -> None:
    """Checks that a child process may use enough memory to load the models and decode a 1080p video.

    Raises:
        SettingsError: the limit is too low. The message is one line and names the bytes needed.
    """
    threads, memory = settings.inference_threads, settings.sandbox_memory_bytes
    needed = needed_memory(threads, settings.own_models)
    if memory >= needed:
        return
    fewer = "" if threads == 1 else ", or lower VIDEOQUEUE_INFERENCE_THREADS"
    raise SettingsError(
        f"VIDEOQUEUE_SANDBOX_MEMORY_BYTES={memory} is too low (the default is the available memory of this "
        f"container or machine). With VIDEOQUEUE_INFERENCE_THREADS={threads}, loading the models and reading "
        f"1080p needs {needed} bytes. Set it to at least {needed} on a machine with enough memory{fewer}."
    )
