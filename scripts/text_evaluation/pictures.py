"""Draws the pictures of the evaluation, with every line of text that is written in them.

The lettering is Aileron, which is built into Pillow, and for Chinese the font "uni" of OpenCV. The moving
pictures are parts of two photographs of the sample video, which show no text.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "videoqueue" / "cli" / "sample.mp4"
#: Sizes of the letters in pixels, from the top of the highest to the bottom of the lowest.
HEIGHTS = (10, 12, 14, 16, 18, 20, 24, 28, 36, 48, 60)
# Seconds of the sample at which a photograph without text is seen, and where it is in the frame.
_PHOTOGRAPHS = {6.0: (slice(70, 450), slice(360, 920)), 9.0: (slice(70, 450), slice(360, 920))}
_WORDS = """
about after again against answer around bridge building captain carries children city cloud
council count country daughter december doctor during early earth engine enough evening example
family field figure follow friend garden government ground harvest however hundred important
island journey kitchen language large later letter little machine market measure morning
mountain museum music nothing number office often open orange paper people picture planet please
possible question quick railway record river school second signal silver special station street
summer system table theatre through together travel under village voice water weather window
winter wonder young
""".split()  # noqa: SIM905
_NAMES = """
Anna Berlin Cairo David Emma Finland Geneva Hanoi Irene James Kyoto Lima Maria Oslo Quito
""".split()  # noqa: SIM905
_CHINESE = "今天北京气很好明上海下雨中国人民大学生时间工作新年快乐生活城市电影音乐世界春夏秋冬山水花鸟"


@dataclass(frozen=True)
class Line:
    """A line of text in a picture.

    Attributes:
        text: What is written.
        box: Left, top, right, bottom in pixels.
        height: The size of the letters in pixels.
        turned: By how many degrees the line is turned clockwise: 0, 90, 180 or 270.
    """

    text: str
    box: tuple[int, int, int, int]
    height: int
    turned: int = 0


@dataclass(frozen=True)
class Drawing:
    """A picture (BGR) and its lines in reading order."""

    picture: np.ndarray
    lines: list[Line]


def screen(width: int, height: int, chance: random.Random) -> Drawing:
    """Draws a page as on a screen: plain ground, a title bar, and lines of many sizes."""
    dark = chance.random() < 0.5
    ground, ink = ((30, 30, 36), (225, 225, 225)) if dark else ((246, 246, 244), (35, 35, 40))
    image = Image.new("RGB", (width, height), ground)
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, width, height // 14), (64, 72, 98) if dark else (205, 212, 228))
    # Few lines of each size, so that the large ones leave room for the small ones.
    sizes = [size for size in HEIGHTS for _ in range(2)]
    chance.shuffle(sizes)
    lines, y = [], height // 14 + 8
    for size in sizes:
        if y + size + 8 > height:
            continue
        x = chance.randint(8, max(9, width // 12))
        text = _sentence(chance, size, width - x - 16)
        lines.append(_write(pen, text, (x, y), size, ink))
        y += size + max(6, size // 2)
    return Drawing(_bgr(image), lines)


def subtitles(width: int, height: int, chance: random.Random) -> Drawing:
    """Draws two lines, white with a dark edge, over a photograph, and smaller ones at the top."""
    image = _photograph(width, height, chance)
    pen = ImageDraw.Draw(image)
    lines = []
    y = height // 20
    for size in chance.sample(HEIGHTS[:7], 3):
        text = _sentence(chance, size, width // 2)
        lines.append(_write(pen, text, (width // 20, y), size, (255, 255, 255), edge=max(1, size // 12)))
        y += 2 * size
    sizes = chance.sample(HEIGHTS[3:], 2)
    y = height - sum(sizes) - 40 - sizes[1] // 2
    for size in sizes:
        text = _sentence(chance, size, width * 4 // 5)
        x = (width - _width(text, size)) // 2
        lines.append(_write(pen, text, (x, y), size, (255, 255, 255), edge=max(1, size // 12)))
        y += size + size // 4 + 4
    return Drawing(_bgr(image), lines)


def lower_third(width: int, height: int, chance: random.Random) -> Drawing:
    """Draws a coloured bar with a name and a title over a photograph, and a clock in the corner."""
    image = _photograph(width, height, chance)
    pen = ImageDraw.Draw(image)
    clock_size, name_size, title_size = (chance.choice(HEIGHTS[low:]) for low in (2, 4, 0))
    clock = f"{chance.randint(0, 23)}:{chance.randint(10, 59)}"
    across = _width(clock, clock_size)
    pen.rectangle((width - across - 40, 12, width - 16, 28 + clock_size), (20, 20, 24))
    lines = [_write(pen, clock, (width - across - 28, 18), clock_size, (250, 250, 250))]
    top = height - name_size - title_size - 60
    pen.rectangle((width // 16, top, width * 15 // 16, height - 24), (24, 48, 120))
    names = f"{chance.choice(_NAMES)} {chance.choice(_NAMES)}son"
    lines.append(_write(pen, names, (width // 16 + 16, top + 8), name_size, (255, 255, 255)))
    title = _sentence(chance, title_size, width * 3 // 4)
    lines.append(_write(pen, title, (width // 16 + 16, top + 20 + name_size), title_size, (255, 220, 120)))
    return Drawing(_bgr(image), lines)


def columns(width: int, height: int, chance: random.Random) -> Drawing:
    """Draws a heading and two columns of text below it."""
    image = Image.new("RGB", (width, height), (248, 248, 246))
    pen = ImageDraw.Draw(image)
    lines = [_write(pen, _sentence(chance, 36, width * 4 // 5), (width // 16, 24), 36, (20, 20, 24))]
    size, across = chance.choice((16, 20, 24)), width * 3 // 8
    for column in range(2):
        y = 100
        for _ in range(chance.randint(6, 9)):
            text = _sentence(chance, size, across)
            lines.append(_write(pen, text, (width // 16 + column * width // 2, y), size, (30, 30, 36)))
            y += size * 7 // 4
    return Drawing(_bgr(image), lines)


def vertical(width: int, height: int, chance: random.Random) -> Drawing:
    """Draws columns of Chinese, which are read from the top, the right one first."""
    picture = np.full((height, width, 3), (250, 252, 250), np.uint8)
    size, font = chance.choice((28, 36, 48)), cv2.FontFace("uni")
    lines, x = [], width - width // 4
    for _ in range(3):
        text = "".join(chance.choice(_CHINESE) for _ in range(chance.randint(5, 8)))
        top = height // 12
        for place, letter in enumerate(text):
            bottom = top + (place + 1) * size * 21 // 20 - size // 8
            cv2.putText(picture, letter, (x, bottom), (20, 20, 20), font, size)
        lines.append(Line(text, (x, top, x + size, top + len(text) * size * 21 // 20), size, 90))
        x -= size * 2
    return Drawing(picture, lines)


def turned(drawing: Drawing, degrees: int) -> Drawing:
    """Returns the picture turned clockwise by 90, 180 or 270 degrees, with its lines."""
    height, width = drawing.picture.shape[:2]
    lines = [
        replace(line, box=_turned_box(line.box, width, height, degrees), turned=(line.turned + degrees) % 360)
        for line in drawing.lines
    ]
    return Drawing(np.ascontiguousarray(np.rot90(drawing.picture, -degrees // 90)), lines)


def _turned_box(
    box: tuple[int, int, int, int], width: int, height: int, degrees: int
) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = box
    if degrees == 90:
        return height - y2, x1, height - y1, x2
    if degrees == 180:
        return width - x2, height - y2, width - x1, height - y1
    return y1, width - x2, y2, width - x1


def _sentence(chance: random.Random, size: int, room: int) -> str:
    """Returns words and numbers of at most `room` pixels and 40 letters.

    RapidOCR often takes longer lines for upside down ones, which would hide what else it reads.
    """
    text, most = chance.choice(_NAMES), chance.randint(12, 40)
    while True:
        word = chance.choice(_WORDS)
        if chance.random() < 0.15:
            word = f"{chance.randint(2, 9999)}" if chance.random() < 0.5 else f"{word},"
        longer = f"{text} {word}"
        if len(longer) > most or _width(longer, size) > room:
            return text
        text = longer


def _write(
    pen: ImageDraw.ImageDraw,
    text: str,
    place: tuple[int, int],
    size: int,
    ink: tuple[int, int, int],
    edge: int = 0,
) -> Line:
    pen.text(place, text, ink, _font(size), anchor="lt", stroke_width=edge, stroke_fill=(10, 10, 10))
    x1, y1, x2, y2 = pen.textbbox(place, text, _font(size), anchor="lt", stroke_width=edge)
    return Line(text, (int(x1), int(y1), int(x2), int(y2)), size)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size=size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise SystemExit(
            "evaluate_text: this Pillow has no FreeType, so it cannot draw letters of a given size"
        )
    return font


def _width(text: str, size: int) -> int:
    return round(_font(size).getlength(text))


def _photograph(width: int, height: int, chance: random.Random) -> Image.Image:
    """Returns a part of a photograph, enlarged, with the noise of a camera."""
    photograph = chance.choice(_photographs())
    rows, across = photograph.shape[:2]
    share = chance.uniform(0.5, 0.9)
    part = (int(across * share), min(rows, int(across * share * height / width)))
    left, top = chance.randint(0, across - part[0]), chance.randint(0, rows - part[1])
    cut = photograph[top : top + part[1], left : left + part[0]]
    large = np.asarray(cv2.resize(cut, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
    noise = np.random.default_rng(chance.randrange(1 << 30))
    large = large + noise.normal(0, 4, large.shape).astype(np.float32)
    return Image.fromarray(np.clip(large, 0, 255).astype(np.uint8))


@cache
def _photographs() -> tuple[np.ndarray, ...]:
    found = []
    with av.open(str(SAMPLE)) as video:
        for frame in video.decode(video=0):
            part = _PHOTOGRAPHS.get(frame.time or 0.0)
            if part:
                found.append(frame.to_ndarray(format="rgb24")[part])
    return tuple(found)


def _bgr(image: Image.Image) -> np.ndarray:
    return np.asarray(image)[:, :, ::-1].copy()
