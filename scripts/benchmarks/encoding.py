"""Writes clips: the same pictures become the same file, with the same versions of PyAV and Pillow."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from PIL import Image

_CONTAINER = {"movflags": "+faststart", "fflags": "+bitexact"}


def encode(file: Path, pictures: Iterable[Image.Image], rate: int, preset: str = "fast") -> None:
    """Encodes pictures of one size, both sides even, as H.264 at `rate` frames per second."""
    with av.open(str(file), "w", format="mp4", options=_CONTAINER) as video:
        stream = video.add_stream("libx264", rate=rate)
        # With several threads x264 decides by what is ready first.
        stream.codec_context.thread_count = 1
        stream.options = {"preset": preset, "crf": "20", "flags": "+bitexact"}
        for number, picture in enumerate(pictures):
            if number == 0:
                stream.width, stream.height = picture.size
                stream.pix_fmt = "yuv420p"
            frame = av.VideoFrame.from_image(picture)  # type: ignore[no-untyped-call]
            video.mux(stream.encode(frame))
        video.mux(stream.encode())


def repeat(source: Path, target: Path, times: int) -> None:
    """Writes the video of `source` several times in a row, without encoding it again."""
    with av.open(str(target), "w", format="mp4", options=_CONTAINER) as video:
        copy: Any = None
        end = 0
        for _ in range(times):
            with av.open(str(source)) as original:
                stream = original.streams.video[0]
                copy = copy or video.add_stream_from_template(stream)
                assert stream.time_base is not None
                assert stream.average_rate is not None
                one_frame = Fraction(1) / stream.average_rate / stream.time_base
                start = end
                for packet in original.demux(stream):
                    # The last packet only tells that there is none left.
                    if packet.pts is None or packet.dts is None:
                        continue
                    packet.pts, packet.dts = packet.pts + start, packet.dts + start
                    end = max(end, packet.pts + int(one_frame))
                    packet.stream = copy
                    video.mux(packet)
