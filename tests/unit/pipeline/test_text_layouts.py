"""Text in frames of any size, turned, and in columns: what is read, and in which order."""

from __future__ import annotations

import itertools
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from tests.support.small_videos import Picture
from videoqueue.pipeline.plugin import PluginOptions
from videoqueue.pipeline.plugins.ocr import OcrPlugin, create, models
from videoqueue.pipeline.plugins.ocr.engine import detection_size
from videoqueue.pipeline.plugins.ocr.models import LineModel
from videoqueue.pipeline.plugins.ocr.reading_order import in_reading_order
from videoqueue.pipeline.plugins.ocr.recognizer import TextRecognizer
from videoqueue.pipeline.results import TextBlock

Place = tuple[str, int, int]
CAPTIONS: tuple[Place, ...] = (
    ("Departures from platform 12", 60, 90),
    ("Next train at 18:03", 60, 180),
    ("Thank you for waiting.", 60, 270),
)
TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


@pytest.fixture(scope="module")
def ocr() -> OcrPlugin:
    return create(PluginOptions(inference_threads=2))


def page(*lines: Place, width: int = 800, height: int = 360, scale: float = 1) -> Picture:
    """Dark text on a light ground; each line stands with its left end on x, y."""
    picture = np.full((height, width, 3), 245, np.uint8)
    for text, x, y in lines:
        cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, (30, 30, 30), 2, cv2.LINE_AA)
    return picture


def letters(picture: Picture, text: str, x: int, y: int, size: int) -> None:
    """Writes with a font that has Chinese and that OpenCV carries."""
    cv2.putText(picture, text, (x, y), (20, 20, 20), cv2.FontFace("uni"), size)


def downwards(picture: Picture, text: str, x: int, y: int, size: int = 36) -> None:
    """Writes one letter below the other."""
    for number, letter in enumerate(text):
        letters(picture, letter, x, y + (number + 1) * size * 21 // 20, size)


def turned(picture: Picture, degrees: int) -> Picture:
    """Turns clockwise."""
    return cast(Picture, cv2.rotate(picture, TURNS[degrees])) if degrees else picture


def texts(ocr: OcrPlugin, picture: Picture) -> list[str]:
    result: Any = ocr.run_tool("read", {"image": picture})
    return [block["text"] for block in result["text_blocks"]]


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_turned_text_is_read_in_its_own_order(ocr: OcrPlugin, degrees: int) -> None:
    assert texts(ocr, turned(page(*CAPTIONS), degrees)) == [text for text, _, _ in CAPTIONS]


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_the_box_of_turned_text_is_in_the_frame_as_it_is(ocr: OcrPlugin, degrees: int) -> None:
    picture = turned(page(CAPTIONS[0]), degrees)
    rows, columns = np.where(picture[:, :, 0] < 100)

    result: Any = ocr.run_tool("read", {"image": picture})

    ((x1, y1, x2, y2),) = (block["box"] for block in result["text_blocks"])
    assert (x1 <= columns.min(), y1 <= rows.min(), x2 > columns.max(), y2 > rows.max()) == (True,) * 4
    assert (x2 - x1 < np.ptp(columns) + 40, y2 - y1 < np.ptp(rows) + 40) == (True, True)


def test_the_label_of_an_axis_is_read_beside_upright_text(ocr: OcrPlugin) -> None:
    picture = page(("Results of the year 2025", 300, 60), ("January to December", 320, 560), height=600)
    label = turned(page(("Temperature in degrees", 20, 50), width=440, height=80), 270)
    picture[80:520, 60:140] = label

    assert texts(ocr, picture) == [
        "Results of the year 2025",
        "Temperature in degrees",
        "January to December",
    ]


def test_columns_of_chinese_are_read_from_the_right(ocr: OcrPlugin) -> None:
    picture = page(width=640, height=480)
    downwards(picture, "今天北京天气", 420, 30)
    downwards(picture, "明天上海下雨", 340, 30)

    assert texts(ocr, picture) == ["今天北京天气", "明天上海下雨"]


def test_columns_of_text_are_read_one_after_the_other(ocr: OcrPlugin) -> None:
    left = [(f"Left line {number}", 60, 140 + 40 * row) for row, number in enumerate(("one", "two", "three"))]
    right = [(text.replace("Left", "Right"), x + 360, y) for text, x, y in left]
    heading = ("A heading across both of the columns", 60, 60)

    read = texts(ocr, page(heading, *itertools.chain(*zip(left, right, strict=True)), scale=0.9))

    assert read == [text for text, _, _ in (heading, *left, *right)]


@pytest.mark.parametrize(
    "cells",
    [
        (("Flour", "500"), ("Butter", "250"), ("Sugar", "120"), ("Salt", "5")),
        (("Name:", "Anna"), ("Town:", "Geneva"), ("Street:", "Station Road"), ("Phone:", "none")),
        (("Anna Smith", "Berlin"), ("Director", "Germany")),
    ],
    ids=["numbers", "labels", "two-rows"],
)
def test_tables_are_read_row_by_row(ocr: OcrPlugin, cells: tuple[tuple[str, str], ...]) -> None:
    places = [
        (text, 60 + 380 * column, 80 + 50 * row)
        for row, line in enumerate(cells)
        for column, text in enumerate(line)
    ]

    assert texts(ocr, page(*places)) == [text for line in cells for text in line]


@pytest.mark.parametrize(
    ("frame", "detail", "size"),
    [
        ((640, 360), 1920, (640, 352)),
        ((960, 540), 1920, (960, 544)),
        ((1280, 720), 1920, (960, 544)),
        ((1920, 1080), 1920, (1280, 704)),
        ((1080, 1920), 1920, (704, 1280)),
        ((2560, 1440), 1920, (1696, 960)),
        ((3840, 2160), 1920, (1920, 1088)),
        ((3840, 2160), 2560, (2560, 1440)),
        ((7680, 4320), 2560, (2560, 1440)),
        ((1920, 1080), 2560, (1280, 704)),
        ((1920, 1080), 640, (640, 352)),
        ((320, 240), 320, (320, 256)),
        ((2000, 15), 1920, (1344, 0)),
    ],
)
def test_text_is_searched_in_a_picture_sized_by_the_frame(
    frame: tuple[int, int], detail: int, size: tuple[int, int]
) -> None:
    assert detection_size(*frame, detail) == size


def test_letters_of_12_pixels_are_read_in_a_frame_of_1920_pixels(ocr: OcrPlugin) -> None:
    picture = page(width=1920, height=1080)
    letters(picture, "small letters at the top", 100, 100, 12)
    letters(picture, "and others at the bottom", 1500, 1000, 12)
    expected = ["small letters at the top", "and others at the bottom"]

    assert texts(ocr, picture) == expected
    assert texts(create(PluginOptions(2, {"ocr.detail": "640"})), picture) != expected


def test_more_detail_reads_smaller_letters_in_4k(ocr: OcrPlugin) -> None:
    picture = page(width=3840, height=2160)
    for row in range(4):
        letters(picture, "quiet zone, no phones", 300 + 800 * row, 300 + 500 * row, 9)

    assert texts(create(PluginOptions(2, {"ocr.detail": "2560"})), picture) == ["quiet zone, no phones"] * 4
    assert "quiet zone, no phones" not in texts(ocr, picture)


class Counted(LineModel):
    """The built-in recognizer; it counts how often it is run."""

    def __init__(self, ocr: OcrPlugin) -> None:
        super().__init__(ocr._engine._recognizer._model._model)
        self.runs = 0

    def run(self, line: npt.NDArray[np.float32]) -> Any:
        self.runs += 1
        return super().run(line)


def strip(text: str, degrees: int = 0) -> Picture:
    """One line."""
    return turned(page((text, 20, 40), width=40 + 20 * len(text), height=60), degrees)


def test_only_a_line_that_is_unsure_is_read_a_second_time_and_both_readings_are_remembered(
    ocr: OcrPlugin,
) -> None:
    model = Counted(ocr)
    reader = TextRecognizer(model, models.charset())

    upright = reader.read(strip("Departures"))
    assert (upright.text, upright.upside_down, model.runs) == ("Departures", False, 1)
    upside_down = reader.read(strip("Thank you", 180))
    assert (upside_down.text, upside_down.upside_down, model.runs) == ("Thank you", True, 3)
    assert [reader.read(strip("Thank you", 180)), reader.read(strip("Departures"))] == [upside_down, upright]
    assert model.runs == 3


def test_second_readings_do_not_depend_on_the_order_of_the_lines(ocr: OcrPlugin) -> None:
    model, charset = ocr._engine._recognizer._model, models.charset()
    lines = [strip("Departures"), strip("Thank you", 180), strip("12:45", 180), strip("platform")]
    alone = [TextRecognizer(model, charset).read(line) for line in lines]

    for order in itertools.permutations(range(len(lines))):
        reader = TextRecognizer(model, charset)
        together = {number: reader.read(lines[number]) for number in order}
        assert [together[number] for number in range(len(lines))] == alone
    assert [reading.text for reading in alone] == ["Departures", "Thank you", "12:45", "platform"]
    assert [reading.upside_down for reading in alone] == [False, True, True, False]


def block(text: str, *box: int) -> TextBlock:
    return TextBlock(text=text, confidence=1.0, box=list(box))


@pytest.mark.parametrize(
    ("degrees", "boxes"),
    [
        (0, [(0, 0, 90, 20), (0, 40, 90, 60)]),
        (90, [(40, 0, 60, 90), (0, 0, 20, 90)]),
        (180, [(0, 40, 90, 60), (0, 0, 90, 20)]),
        (270, [(0, 0, 20, 90), (40, 0, 60, 90)]),
    ],
)
def test_turned_lines_are_sorted_as_if_the_frame_were_turned_upright(
    degrees: int, boxes: list[tuple[int, int, int, int]]
) -> None:
    blocks = [block(str(number), *box) for number, box in enumerate(boxes)]

    for given in itertools.permutations(blocks):
        assert [entry["text"] for entry in in_reading_order(given, [degrees] * 2)] == ["0", "1"]


def test_lines_in_another_direction_keep_together_and_the_longer_text_decides() -> None:
    upright = [block("the first line", 100, 0, 300, 20), block("the last line", 100, 200, 300, 220)]
    label = [block("down", 44, 60, 64, 160), block("ward", 20, 60, 40, 160)]

    given = [(entry, 0) for entry in upright] + [(entry, 90) for entry in label]
    for order in itertools.permutations(given):
        blocks, degrees = zip(*order, strict=True)
        read = [entry["text"] for entry in in_reading_order(blocks, degrees)]
        assert read == ["the first line", "down", "ward", "the last line"]
