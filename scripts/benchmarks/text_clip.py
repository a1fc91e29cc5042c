"""Makes a clip full of moving, changing text, so that nothing can be answered from memory.

Each frame of 1280x720 shows lines whose capital letters are 9 to 34 px high, over a background that moves:
a ticker that runs sideways, credits that rise, captions that change, a clock. The same seed gives the same
pictures.
"""

from __future__ import annotations

import colorsys
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.encoding import encode

WIDTH, HEIGHT, RATE = 1280, 720, 25
#: Heights of capital letters in pixels, one for each line of a frame.
HEIGHTS = (9, 10, 11, 12, 13, 14, 16, 18, 20, 22, 24, 26, 28, 30, 34)
#: A capital letter of Pillow's own font is this part of its size.
CAPITAL = 0.71
WORDS = (
    *("river", "market", "signal", "harvest", "window", "station", "bridge", "letter", "morning", "council"),
    *("engine", "planet", "garden", "winter", "record", "captain", "museum", "silver", "border", "travel"),
    *("doctor", "number", "theatre", "island", "Berlin", "Lima", "Oslo", "Quito", "Dakar", "Kyoto", "Perth"),
    *("Turin", "Cairo", "Delhi", "Accra", "Boston"),
)


@dataclass
class Line:
    """One moving line; `text` holds for `hold` frames and is then replaced."""

    height: int
    x: float
    y: float
    dx: float
    dy: float
    hold: int
    text: str = ""

    def move(self, number: int, random_words: random.Random, width: float) -> None:
        if number % self.hold == 0 or not self.text:
            words = " ".join(random_words.choice(WORDS) for _ in range(random_words.randint(2, 4)))
            self.text = f"{words} {random_words.randint(10, 9999)}"
        self.x = 20 + (self.x - 20 + self.dx) % width
        self.y += self.dy


def frames(count: int, seed: int = 1) -> Iterator[tuple[Image.Image, list[str]]]:
    """Pictures and the lines written in each, from the top."""
    chance = random.Random(seed)
    fonts = {height: ImageFont.load_default(size=height / CAPITAL) for height in HEIGHTS}
    order = list(HEIGHTS)
    chance.shuffle(order)
    gap = HEIGHT / (len(order) + 1)
    lines = [
        Line(
            height,
            chance.uniform(20, 300),
            gap * (place + 0.7),
            chance.uniform(-5, 5),
            0,
            chance.randint(3, 12),
        )
        for place, height in enumerate(order)
    ]
    for number in range(count):
        picture = Image.fromarray(_background(number, seed))
        pen = ImageDraw.Draw(picture)
        for line in lines:
            line.move(number, chance, 420)
            # Lines sway up and down within their gap, by whole and half pixels.
            y = line.y + 5 * math.sin(number / 7 + line.height)
            # The clock-like last digit changes with every frame.
            line_text = f"{line.text}{number % 10}"
            pen.text((line.x, y), line_text, _ink(line.height), fonts[line.height], anchor="lm")
        yield picture, [f"{line.text}{number % 10}" for line in lines]


def write(file: Path, count: int, seed: int = 1) -> list[list[str]]:
    """Encodes the clip as H.264 and returns the lines of each frame."""
    texts: list[list[str]] = []

    def pictures() -> Iterator[Image.Image]:
        for picture, lines in frames(count, seed):
            texts.append(lines)
            yield picture

    encode(file, pictures(), RATE)
    return texts


def _background(number: int, seed: int) -> np.ndarray:
    """Slow waves of dark colour, which no two frames have alike."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    phase = number / 9 + seed
    waves = np.stack(
        [np.sin(x / (150 + 60 * c) + phase * (c + 1)) * np.cos(y / (110 + 40 * c) - phase) for c in range(3)],
        axis=2,
    )
    return (48 + 34 * waves).astype(np.uint8)


def _ink(height: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(height * 0.137 % 1, 0.25, 1)
    return int(255 * red), int(255 * green), int(255 * blue)
