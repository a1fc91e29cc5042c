"""process: runs a pipeline on a file, without database, queue, storage or server."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from videoqueue.cli.formatted import Run, write_format
from videoqueue.cli.options import format_option, submission_options
from videoqueue.settings import load_settings

if TYPE_CHECKING:
    from videoqueue.pipeline.results import FrameItem
    from videoqueue.sandbox.protocol import Report


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@submission_options
@format_option()
def process(
    file: Path, pipeline_id: str | None, frame_stride: int, max_frames: int | None, format_name: str | None
) -> None:
    """Run a pipeline on FILE without a server.

    The video is read in a child process with the limits and the sandbox of a worker's. Prints {"results":
    [...]} to stdout, each frame as soon as it is processed, or with --format another format. A progress bar
    is on stderr. A damaged frame has no item; stderr has the number of damaged frames. If the video cannot be
    read, or too few of its frames can be decoded, the exit code is 1 and the output is incomplete or empty.
    """
    from tqdm import tqdm

    from videoqueue.log_setup import print_log_of
    from videoqueue.sandbox import child_output

    print_log_of(child_output.__name__)
    bar_format = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"

    def on_progress(share: float) -> None:
        bar.update(share - bar.n)

    with (
        tqdm(total=1.0, desc="processing", disable=None, leave=False, bar_format=bar_format) as bar,
        closing(_reports(file, pipeline_id, frame_stride, max_frames)) as reports,
    ):
        run = Run(reports, on_progress)
        if format_name is None:
            _print_json(run.items())
        else:
            write_format(run, format_name, sys.stdout.buffer)
    if run.video.damaged_frames:
        click.echo(
            f"{run.video.damaged_frames} of the frames could not be decoded: the video is damaged.", err=True
        )


def _print_json(items: Iterator[FrameItem]) -> None:
    for number, item in enumerate(items):
        line = json.dumps(item, ensure_ascii=False, allow_nan=False)
        click.echo(("," if number else '{"results": [') + "\n" + line, nl=False)
    click.echo("\n]}")


def _reports(
    file: Path, pipeline_id: str | None, frame_stride: int, max_frames: int | None
) -> Generator[Report]:
    """Yields what a child reports, which ends with this generator."""
    from videoqueue.sandbox.protocol import Task
    from videoqueue.worker.factory import sandbox_of_command
    from videoqueue.worker.workspace import workspace_of_command

    settings = load_settings()
    task = Task(
        path=str(file.absolute()),
        pipeline_id=pipeline_id or settings.default_pipeline,
        frame_stride=frame_stride,
        max_frames=max_frames,
        start_after=None,
    )
    with (
        workspace_of_command() as workspace,
        closing(sandbox_of_command(settings, workspace.folder)) as sandbox,
    ):
        yield from sandbox.run(task, lambda: False)
