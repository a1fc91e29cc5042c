"""process: runs a pipeline on a file, without database, queue, storage or server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from videoqueue.cli.options import submission_options
from videoqueue.settings import load_settings

if TYPE_CHECKING:
    from videoqueue.pipeline.results import FrameItem


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@submission_options
def process(file: Path, pipeline_id: str | None, frame_stride: int, max_frames: int | None) -> None:
    """Run a pipeline on FILE in this process, without a server.

    Prints {"results": [...]} to stdout, each frame as soon as it is processed. A progress bar is on stderr.
    A damaged frame has no item; stderr has the number of damaged frames. If the video cannot be read, or too
    few of its frames can be decoded, the exit code is 1 and the JSON is incomplete or empty.
    """
    from tqdm import tqdm

    from videoqueue.pipeline.decode.video_info import VideoInfo
    from videoqueue.pipeline.service import build_service

    settings = load_settings()
    service = build_service(settings.pipeline_options)
    bar_format = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"

    video = VideoInfo()

    def on_progress(fraction: float) -> None:
        bar.update(fraction - bar.n)

    def on_video(info: VideoInfo) -> None:
        nonlocal video
        video = info

    with tqdm(total=1.0, desc="processing", disable=None, leave=False, bar_format=bar_format) as bar:
        items = service.iter_file(
            file,
            pipeline_id or settings.default_pipeline,
            frame_stride=frame_stride,
            max_frames=max_frames,
            on_progress=on_progress,
            on_video=on_video,
        )
        for number, item in enumerate(items):
            click.echo(("," if number else '{"results": [') + "\n" + _line(item), nl=False)
    click.echo("\n]}")
    if video.damaged_frames:
        click.echo(
            f"{video.damaged_frames} of the frames could not be decoded: the video is damaged.", err=True
        )


def _line(item: FrameItem) -> str:
    return json.dumps(item, ensure_ascii=False, allow_nan=False)
