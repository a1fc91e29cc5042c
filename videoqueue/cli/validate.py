"""validate: checks pipelines and plugins, for their authors and for continuous integration."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from videoqueue.cli.option_types import Text
from videoqueue.settings import Settings, load_settings

if TYPE_CHECKING:
    from videoqueue.pipeline.registry import PluginRegistry


@click.group()
def validate() -> None:
    """Check pipelines and plugins without a video."""


@validate.command()
@click.option(
    "--pipelines-dir",
    type=click.Path(path_type=Path),
    help="Folder with pipeline files. [default: VIDEOQUEUE_PIPELINES_DIR]",
)
def pipelines(pipelines_dir: Path | None) -> None:
    """Check the built-in pipelines and those of a folder, with the plugins they use.

    Prints "ok" and the tools of each valid pipeline, and each fault as one line on stderr. The exit code is 1
    if there is a fault.
    """
    from videoqueue.pipeline.conformance.pipelines import check_pipelines

    settings = load_settings()
    folder = pipelines_dir or (Path(settings.pipelines_dir) if settings.pipelines_dir else None)
    reports = check_pipelines(_registry(settings, settings.inference_threads), *([folder] if folder else []))
    for report in reports:
        if not report.faults:
            nodes = report.pipeline.nodes
            click.echo(
                f"ok {report.pipeline.id}: " + ", ".join(f"{node.plugin}.{node.tool}" for node in nodes)
            )
    _end([fault for report in reports for fault in report.faults])


@validate.command()
@click.argument("names", nargs=-1, type=Text(), metavar="[NAME]...")
def plugins(names: tuple[str, ...]) -> None:
    """Check the named plugins, or all installed ones, on a few generated frames.

    Prints "ok", the version and the tools of each valid plugin, and each fault as one line on stderr. The
    exit code is 1 if there is a fault. Notes name tools that could not be tried.
    """
    from videoqueue.pipeline.conformance.plugins import check_plugins

    settings = load_settings()
    # A plugin may rely on being called by no more threads than this, and the check uses two.
    reports = check_plugins(_registry(settings, max(2, settings.inference_threads)), names)
    for report in reports:
        if not report.faults:
            click.echo(f"ok {report.name} {report.version}: {', '.join(report.tools)}")
        for note in report.notes:
            click.echo(f"note: {note}")
    _end([fault for report in reports for fault in report.faults])


def _registry(settings: Settings, threads: int) -> PluginRegistry:
    from videoqueue.pipeline.plugin import PluginOptions
    from videoqueue.pipeline.registry import PluginRegistry

    options = settings.pipeline_options
    return PluginRegistry(PluginOptions(threads, options.plugin_values, options.setting_names))


def _end(faults: Iterable[object]) -> None:
    lines = [str(fault) for fault in faults]
    for line in lines:
        click.echo(line, err=True)
    if lines:
        raise SystemExit(1)
