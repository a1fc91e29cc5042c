"""Videos whose pictures say which frame they are: its number in black and white bars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np

from tests.support.small_videos import Picture
from tests.support.video_stream import add_video_stream
from videoqueue.pipeline.decode.decoder import open_video

BITS = 8
#: The size of a picture: a bar for each bit, from left to right, the lowest first.
WIDTH, HEIGHT = 256, 64
_VP9: Final = {"crf": "20", "b": "0", "deadline": "realtime", "cpu-used": "8", "g": "20"}

#: JavaScript: the number in the picture that the video shows. Turned ones have their bars from top to bottom.
READ = """(isTurned) => {
  const video = document.getElementById('video');
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = isTurned ? [64, 256] : [256, 64];
  const pen = canvas.getContext('2d', {willReadFrequently: true});
  pen.drawImage(video, 0, 0, canvas.width, canvas.height);
  let number = 0;
  for (let bit = 0; bit < 8; bit += 1) {
    const at = 16 + 32 * bit;
    const [level] = pen.getImageData(isTurned ? 32 : at, isTurned ? at : 32, 1, 1).data;
    if (level > 128) number += 1 << bit;
  }
  return number;
}"""


def marked(number: int) -> Picture:
    """The picture of a number below 256."""
    bars = [255 if number >> bit & 1 else 0 for bit in range(BITS)]
    row = np.repeat(np.array(bars, np.uint8), WIDTH // BITS)
    return np.ascontiguousarray(np.broadcast_to(row[None, :, None], (HEIGHT, WIDTH, 3)))


def write_pictures(file: Path, pictures: Sequence[Picture]) -> Path:
    """A VP9 MP4 of these pictures at 25 a second."""
    height, width = pictures[0].shape[:2]
    with av.open(str(file), "w", format="mp4") as output:
        stream = add_video_stream(
            output, "libvpx-vp9", rate=25, width=width, height=height, pix_fmt="yuv420p", options=_VP9
        )
        for picture in pictures:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        output.mux(stream.encode())
    return file


def make_marked(
    file: Path,
    frames: int,
    *,
    codec: str = "libvpx-vp9",
    times: Sequence[int] | None = None,
    ratio: str | None = None,
    matrix: Sequence[int] | None = None,
) -> Path:
    """An MP4 at 25 frames a second, or with these times in milliseconds."""
    options = _VP9 if codec == "libvpx-vp9" else {"crf": "20", "preset": "10", "g": "20"}
    with av.open(str(file), "w", format="mp4") as output:
        stream = add_video_stream(
            output, codec, rate=25, width=WIDTH, height=HEIGHT, pix_fmt="yuv420p", options=options
        )
        if ratio is not None:
            stream.codec_context.sample_aspect_ratio = Fraction(ratio)
        if matrix is not None:
            stream.set_display_matrix(matrix)
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(marked(number), format="bgr24")
            frame.pts = times[number] if times is not None else number * 40
            frame.time_base = Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return file


def numbers_of(file: Path, is_turned: bool = False) -> Iterator[tuple[int, float, int, tuple[int, int]]]:
    """Index, time and number of each frame as the pipeline gets it, and the size of its picture."""
    with open_video(file) as video:
        for frame in video.frames():
            picture = frame.image()
            height, width = picture.shape[:2]
            line = picture[:, width // 2] if is_turned else picture[height // 2]
            step = len(line) // BITS
            bits = [int(line[step // 2 + step * bit].mean()) > 128 for bit in range(BITS)]
            number = sum(1 << bit for bit, is_set in enumerate(bits) if is_set)
            yield frame.index, round(frame.timestamp, 6), number, (width, height)


def make_large(file: Path, seconds: int) -> Path:
    """A VP9 MP4 with about 1 MB a second: one picture of noise, again and again."""
    noise = np.random.default_rng(1).integers(0, 256, (720, 1280, 3), np.uint8)
    with av.open(str(file), "w", format="mp4") as output:
        options = {**_VP9, "crf": "4"}
        stream = add_video_stream(
            output, "libvpx-vp9", rate=1, width=1280, height=720, pix_fmt="yuv420p", options=options
        )
        stream.time_base = Fraction(1)
        frame = av.VideoFrame.from_ndarray(noise, format="bgr24")
        (picture,) = [*stream.encode(frame), *stream.encode()]
        content = bytes(picture)
        for number in range(seconds):
            packet = av.Packet(content)
            packet.stream, packet.is_keyframe = stream, True
            packet.pts = packet.dts = number
            packet.time_base, packet.duration = Fraction(1), 1
            output.mux(packet)
    return file
