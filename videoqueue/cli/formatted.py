"""Writes what a pipeline reports of one video in the format of another program."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING

from videoqueue.errors import VideoqueueError
from videoqueue.pipeline.decode.video_info import VideoInfo
from videoqueue.pipeline.results import FrameItem

if TYPE_CHECKING:
    from videoqueue.sandbox.protocol import Report


class Run:
    """The reports of a child about one video. `video` is known when all items have been read.

    Args:
        reports: the reports.
        on_progress: called with the share of the video that is done.
    """

    def __init__(self, reports: Iterator[Report], on_progress: Callable[[float], object]) -> None:
        self._reports = reports
        self._on_progress = on_progress
        self.video = VideoInfo()

    def items(self) -> Iterator[FrameItem]:
        """Yields the item of each frame as soon as it is processed; can be called once."""
        from videoqueue.sandbox.protocol import Alive, Ended, Seen

        for report in self._reports:
            match report:
                case Seen(item):
                    yield item
                case Alive(progress):
                    self._on_progress(progress)
                case Ended(video):
                    self.video = video


def write_format(run: Run, name: str, output: IO[bytes]) -> None:
    """Writes all items in a format of `videoqueue.exports`.

    Raises:
        VideoqueueError: the format needs the size of the video, and it is not known.
    """
    from videoqueue.exports.formats import FORMATS

    chosen = FORMATS[name]
    if chosen.streams:
        _write(chosen.write(run.items, VideoInfo()), output)
        return
    with tempfile.TemporaryFile() as spool:  # such a format may read the items twice
        for item in run.items():
            spool.write(json.dumps(item, allow_nan=False).encode() + b"\n")

        def replay() -> Iterator[FrameItem]:
            spool.seek(0)
            for line in spool:
                yield json.loads(line)

        if chosen.needs_size and (run.video.width is None or run.video.height is None):
            raise VideoqueueError("The size of the video is not known. Choose another format.")
        _write(chosen.write(replay, run.video), output)


def _write(pieces: Iterator[bytes], output: IO[bytes]) -> None:
    for piece in pieces:
        output.write(piece)
        output.flush()
