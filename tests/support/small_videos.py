"""Makes small real MP4 files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from tests.support.video_stream import add_video_stream

Picture = npt.NDArray[np.uint8]
MakeVideo = Callable[..., Path]


def flat(width: int, height: int, level: int) -> Picture:
    return np.full((height, width, 3), level, np.uint8)


def seconds(frame: av.VideoFrame) -> float:
    """The time of a decoded frame, to a microsecond."""
    assert frame.time is not None
    return round(frame.time, 6)


@pytest.fixture
def make_video(tmp_path: Path) -> MakeVideo:
    """Writes pictures (BGR) to an MP4 and returns its path.

    `times` are milliseconds, one for each picture; `matrix` is the track's display matrix; `options` go to
    the muxer, for example movflags, and `encoding` to the encoder.
    """

    def make(
        pictures: Sequence[Picture],
        name: str = "clip.mp4",
        codec: str = "libx264",
        pixels: str = "yuv420p",
        times: Sequence[int] | None = None,
        matrix: Sequence[int] | None = None,
        options: Mapping[str, str] | None = None,
        encoding: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Path:
        height, width = pictures[0].shape[:2]
        file = tmp_path / name
        with av.open(str(file), "w", format="mp4", options=dict(options or {})) as output:
            output.metadata.update(metadata or {})
            settings = {"crf": "10", "preset": "ultrafast"} if codec == "libx264" else {}
            settings.update(encoding or {})
            stream = add_video_stream(
                output, codec, rate=25, width=width, height=height, pix_fmt=pixels, options=settings
            )
            if matrix is not None:
                stream.set_display_matrix(matrix)
            if times is not None:
                stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
            for number, picture in enumerate(pictures):
                frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
                if times is not None:
                    frame.pts = times[number]
                    frame.time_base = Fraction(1, 1000)
                output.mux(stream.encode(frame))
            output.mux(stream.encode())
        return file

    return make
