"""The set of clips: which pictures, of which size. It is fixed, so that figures can be compared."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av

from text_evaluation.pictures import Drawing, columns, lower_third, screen, subtitles, turned, vertical

SIZES = ((640, 360), (1280, 720), (1920, 1080), (1080, 1920), (3840, 2160))
QUICK_SIZES = ((640, 360), (1280, 720), (1920, 1080))
_RATE = 5
_KINDS: tuple[Callable[[int, int, random.Random], Drawing], ...] = (screen, subtitles, lower_third)


@dataclass(frozen=True)
class Clip:
    """A clip; every frame shows other text.

    Attributes:
        name: What it shows.
        group: In which row of the report it counts.
        frames: Its pictures with their lines.
    """

    name: str
    group: str
    frames: list[Drawing]

    @property
    def size(self) -> tuple[int, int]:
        """Returns width and height in pixels."""
        height, width = self.frames[0].picture.shape[:2]
        return width, height


def clips(quick: bool) -> list[Clip]:
    """Returns all clips; the same ones in each run. With `quick`, fewer and none at 4K."""
    made = []
    for width, height in QUICK_SIZES if quick else SIZES:
        count = 1 if quick else 4
        for draw in _KINDS:
            chance = random.Random(f"{draw.__name__} {width}x{height}")
            frames = [draw(width, height, chance) for _ in range(count)]
            made.append(Clip(f"{draw.__name__} {width}x{height}", f"{width}x{height}", frames))
    return made + _turned_clips(1 if quick else 3) + _layouts(1 if quick else 3)


def _turned_clips(count: int) -> list[Clip]:
    made = []
    for degrees, group in ((180, "upside down"), (90, "running down"), (270, "running up")):
        for draw in (screen, subtitles):
            chance = random.Random(f"turned {draw.__name__}")
            frames = [turned(draw(1280, 720, chance), degrees) for _ in range(count)]
            made.append(Clip(f"{draw.__name__} {group}", group, frames))
    return made


def _layouts(count: int) -> list[Clip]:
    chance = random.Random("layouts")
    return [
        Clip(draw.__name__, draw.__name__, [draw(1280, 720, chance) for _ in range(count)])
        for draw in (columns, vertical)
    ]


def write(clip: Clip, file: Path) -> None:
    """Encodes a clip as H.264 with one thread, so that the bytes are the same in each run."""
    with av.open(str(file), "w", format="mp4", options={"fflags": "+bitexact"}) as video:
        stream = video.add_stream("libx264", rate=_RATE)
        stream.width, stream.height = clip.size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"preset": "veryfast", "crf": "20", "flags": "+bitexact"}
        for drawing in clip.frames:
            frame = av.VideoFrame.from_ndarray(drawing.picture, format="bgr24")
            video.mux(stream.encode(frame))
        video.mux(stream.encode())
