"""Makes clips of the kinds that people submit, in any size: a screen recording, subtitles, a lower third.

The same kind, size, number of frames and seed give the same pictures. Lengths are in pixels of a picture that
is 1080 high unless they say otherwise.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from benchmarks.encoding import encode
from benchmarks.text_clip import CAPITAL, WORDS

RATE = 10
Size = tuple[int, int]
#: A picture and the lines written in it.
Shot = tuple[Image.Image, list[str]]
_WHITE, _BLACK, _BLUE, _GREY = (255, 255, 255), (0, 0, 0), (18, 32, 84), (64, 68, 76)
_PAPER, _INK, _FRAME = (252, 252, 250), (32, 36, 44), (224, 226, 230)
_PAN = 9


def screen_recording(size: Size, count: int, seed: int) -> Iterator[Shot]:
    """An editor in which somebody types, a terminal that scrolls; one frame in four equals the one before.

    Capital letters are 11 px high, at 3840x2160 half as high again: large screens show small letters.
    """
    chance = random.Random(seed)
    scale = max(1.0, size[1] / 1440)
    font, row = _font(11 * scale), round(26 * scale)
    left, right, middle = round(40 * scale), round(0.22 * size[0]), round(0.6 * size[0])
    files = [f"{chance.choice(WORDS)}_{number}.py" for number in range(10)]
    code, more = ([_assignment(chance) for _ in range(22)] for _ in range(2))
    printed = [_log_line(chance) for _ in range(count + 6)]
    typed = " ".join(_assignment(chance) for _ in range(40))
    for number in range(count):
        step = number - number // 4
        picture = Image.new("RGB", size, _PAPER)
        pen = ImageDraw.Draw(picture)
        pen.rectangle((0, 0, right - left, size[1]), _FRAME)
        columns = [(left // 2, files), (right, [*code, typed[: 8 + step % 40]]), (middle, more)]
        for x, lines in columns:
            for place, line in enumerate(lines):
                pen.text((x, row * (place + 2)), line, _INK, font, anchor="lm")
        top = size[1] - 8 * row
        pen.rectangle((right - left, top, size[0], size[1]), _GREY)
        shown = printed[step // 3 : step // 3 + 6]
        for place, line in enumerate(shown):
            pen.text((right, top + row * (place + 1)), line, _WHITE, font, anchor="lm")
        yield picture, [line for _, lines in columns for line in lines] + shown


def subtitles(size: Size, count: int, seed: int) -> Iterator[Shot]:
    """Two centred lines over a moving picture, which change every 12 frames. Capitals: 34 px."""
    chance = random.Random(seed)
    scale = size[1] / 1080
    font = _font(34 * scale)
    captions = [[_sentence(chance, 4), _sentence(chance, 3)] for _ in range(count // 12 + 1)]
    for number, picture in enumerate(_moving_pictures(size, count, seed)):
        pen = ImageDraw.Draw(picture)
        # Nothing is said for a moment between two captions.
        lines = captions[number // 12] if number % 12 < 10 else []
        for place, line in enumerate(lines):
            at = (size[0] / 2, size[1] - scale * (140 - 64 * place))
            pen.text(at, line, _WHITE, font, anchor="mm", stroke_width=round(3 * scale), stroke_fill=_BLACK)
        yield picture, lines


def lower_third(size: Size, count: int, seed: int) -> Iterator[Shot]:
    """A name with a title, a clock and a ticker, over a moving picture. Capitals: 34, 23, 20 and 18 px.

    The ticker is not among the lines: its first and last letters are cut off.
    """
    chance = random.Random(seed)
    scale = size[1] / 1080
    fonts = {height: _font(height * scale) for height in (34, 23, 20, 18)}
    people = [(_sentence(chance, 2).title(), _sentence(chance, 4)) for _ in range(count // 20 + 1)]
    ticker = "  +++  ".join(_sentence(chance, 6) for _ in range(20))
    for number, picture in enumerate(_moving_pictures(size, count, seed)):
        pen = ImageDraw.Draw(picture)
        name, title = people[number // 20]
        clock = f"18:{number // 10 // 60:02}:{number // 10 % 60:02}"

        def write(
            x: float,
            y: float,
            line: str,
            height: int,
            pen: ImageDraw.ImageDraw = pen,
        ) -> None:
            pen.text((x * scale, y * scale), line, _WHITE, fonts[height], anchor="lm")

        pen.rectangle([round(side * scale) for side in (90, 800, 1100, 950)], _BLUE)
        write(120, 848, name, 34)
        write(120, 912, title, 23)
        pen.rectangle((0, round(1020 * scale), *size), _BLACK)
        write(60 - 7 * number, 1050, ticker, 18)
        pen.rectangle([round(side * scale) for side in (1690, 50, 1850, 110)], _BLUE)
        write(1710, 80, clock, 20)
        yield picture, [clock, name, title]


KINDS: dict[str, Callable[[Size, int, int], Iterator[Shot]]] = {
    "screen recording": screen_recording,
    "subtitles": subtitles,
    "lower third": lower_third,
}


def write(file: Path, kind: str, size: Size, count: int, seed: int = 1) -> list[list[str]]:
    """Encodes a clip of one of KINDS as H.264 and returns the lines of each frame."""
    texts: list[list[str]] = []

    def pictures() -> Iterator[Image.Image]:
        for picture, lines in KINDS[kind](size, count, seed):
            texts.append(lines)
            yield picture

    encode(file, pictures(), RATE, preset="veryfast")
    return texts


def _moving_pictures(size: Size, count: int, seed: int) -> Iterator[Image.Image]:
    """A camera that pans over a scene with coarse and fine detail."""
    width, height = size
    pan = max(1, round(_PAN * height / 1080))
    scene = _scene(width + pan * count, height, seed)
    for number in range(count):
        yield Image.fromarray(scene[:, number * pan : number * pan + width])


def _scene(width: int, height: int, seed: int) -> npt.NDArray[np.uint8]:
    chance = np.random.default_rng(seed)
    scene = np.full((height, width, 3), 96, np.float32)
    for grain, strength in ((height // 4, 40), (height // 16, 24), (height // 64, 14), (4, 5)):
        grid = (height // grain + 2, width // grain + 2)
        # Colours differ less than brightness, as in most pictures.
        coarse = chance.normal(0, strength, (*grid, 1)) + chance.normal(0, strength / 4, (*grid, 3))
        scene += cv2.resize(coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(scene, 0, 200).astype(np.uint8)


def _font(capital: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size=capital / CAPITAL)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def _sentence(chance: random.Random, words: int) -> str:
    return " ".join(chance.choice(WORDS) for _ in range(words)).capitalize()


def _assignment(chance: random.Random) -> str:
    target, source, argument = (chance.choice(WORDS).lower() for _ in range(3))
    return f"{target} = {source}({argument}, {chance.randint(2, 999)})"


def _log_line(chance: random.Random) -> str:
    return f"12:{chance.randint(10, 59)}:{chance.randint(10, 59)} INFO {_sentence(chance, 4)}"
