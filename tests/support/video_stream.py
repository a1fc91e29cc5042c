"""Adds a video stream to a file that is written with PyAV."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import av
from av.container import OutputContainer


def add_video_stream(
    output: OutputContainer,
    codec: str,
    rate: Fraction | int,
    options: Mapping[str, str] | None = None,
    **settings: Any,
) -> av.VideoStream:
    """Adds a stream of an encoder whose name is known at run time only.

    Args:
        output: The file.
        codec: The name of a video encoder of FFmpeg.
        rate: Frames per second.
        options: Options of the encoder.
        settings: Attributes of the stream, such as `width`, `height` and `pix_fmt`.

    Returns:
        The stream.
    """
    stream = output.add_stream(codec, rate=rate, options=dict(options or {}), **settings)
    assert isinstance(stream, av.VideoStream), f"{codec} is no encoder of videos"
    return stream
