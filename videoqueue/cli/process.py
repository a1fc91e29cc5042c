"""process: runs a pipeline on a file, without database, queue, storage or server."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from videoqueue.cli.options import submission_options
from videoqueue.settings import load_settings

if TYPE_CHECKING:
    from videoqueue.pipeline.results import FrameItem
    from videoqueue.sandbox.protocol import Report


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@submission_options
def process(file: Path, pipeline_id: str | None, frame_stride: int, max_frames: int | None) -> None:
    """Run a pipeline on FILE without a server.

    The video is read in a child process with the limits and the sandbox of a worker's. Prints {"results":
    [...]} to stdout, each frame as soon as it is processed. A progress bar is on stderr. A damaged frame has
    no item; stderr has the number of damaged frames. If the video cannot be read, or too few of its frames
    can be decoded, the exit code is 1 and the JSON is incomplete or empty.
    """
    from tqdm import tqdm

    from videoqueue.log_setup import print_log_of
    from videoqueue.sandbox import child_output
    from videoqueue.sandbox.protocol import Alive, Ended, Seen

    print_log_of(child_output.__name__)
    bar_format = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
    number = damaged = 0
    with (
        tqdm(total=1.0, desc="processing", disable=None, leave=False, bar_format=bar_format) as bar,
        closing(_reports(file, pipeline_id, frame_stride, max_frames)) as reports,
    ):
        for report in reports:
            match report:
                case Seen(item):
                    click.echo(("," if number else '{"results": [') + "\n" + _line(item), nl=False)
                    number += 1
                case Alive(progress):
                    bar.update(progress - bar.n)
                case Ended(video):
                    damaged = video.damaged_frames or 0
    click.echo("\n]}")
    if damaged:
        click.echo(f"{damaged} of the frames could not be decoded: the video is damaged.", err=True)


def _reports(
    file: Path, pipeline_id: str | None, frame_stride: int, max_frames: int | None
) -> Generator[Report]:
    """Yields what a child reports, which ends with this generator."""
    from videoqueue.sandbox.protocol import Task
    from videoqueue.worker.factory import sandbox_of_command

    settings = load_settings()
    task = Task(
        path=str(file.absolute()),
        pipeline_id=pipeline_id or settings.default_pipeline,
        frame_stride=frame_stride,
        max_frames=max_frames,
        start_after=None,
    )
    with closing(sandbox_of_command(settings)) as sandbox:
        yield from sandbox.run(task, lambda: False)


def _line(item: FrameItem) -> str:
    return json.dumps(item, ensure_ascii=False, allow_nan=False)
