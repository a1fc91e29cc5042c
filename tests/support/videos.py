"""Small real MP4s, made on the spot."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from tests.support.damage import moving
from tests.support.hevc import x265
from tests.support.video_stream import add_video_stream


def make_video(
    path: Path,
    text: str = "HELLO 42",
    frames: int = 3,
    size: tuple[int, int] = (320, 180),
    moving: bool = False,
) -> Path:
    """An H.264 MP4 of `frames` frames at 10 a second; the text stands, or moves, black on white in each."""
    picture = np.full((size[1], size[0], 3), 255, np.uint8)
    cv2.putText(picture, text, (20, size[1] // 2), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (0, 0, 0), 2, cv2.LINE_AA)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.time_base = Fraction(1, 10)
        for index in range(frames):
            shown = np.roll(picture, 16 * index, axis=1) if moving else picture
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(shown), format="bgr24")
            frame.pts, frame.time_base = index, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _encoder(codec: str, frames: int) -> tuple[str, dict[str, str]]:
    if codec == "hevc":
        return "libx265", x265(frames, keyint=10, min_keyint=10, bframes=2, open_gop=0)
    return "libx264", {"preset": "medium", "x264-params": "keyint=10:bframes=2:scenecut=0:open-gop=0"}


def make_moving_video(path: Path, codec: str, frames: int) -> Path:
    """An MP4 at 10 frames a second in groups of ten, whose frames depend on those before them."""
    encoder, options = _encoder(codec, frames)
    with av.open(str(path), "w", format="mp4") as container:
        stream = add_video_stream(container, encoder, rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for picture in moving(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode())
    return path


def spoil_samples(path: Path) -> Path:
    """Zeroes every sample: the boxes stay valid, no frame can be decoded."""
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    size = int.from_bytes(data[start - 8 : start - 4], "big") - 8
    data[start : start + size] = bytes(size)
    path.write_bytes(data)
    return path
