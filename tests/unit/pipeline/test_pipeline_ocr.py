from __future__ import annotations

import itertools
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from tests.support.small_videos import MakeVideo, Picture
from videoqueue.errors import PipelineError
from videoqueue.pipeline.plugin import PluginOptions
from videoqueue.pipeline.plugins.ocr import OcrPlugin, create, models, recognizer
from videoqueue.pipeline.plugins.ocr.models import LineModel
from videoqueue.pipeline.plugins.ocr.reading_order import in_reading_order
from videoqueue.pipeline.plugins.ocr.recognizer import TextRecognizer
from videoqueue.pipeline.plugins.openvino import CompiledModel
from videoqueue.pipeline.results import TextBlock


@pytest.fixture(scope="module")
def ocr() -> OcrPlugin:
    return create(PluginOptions(inference_threads=2))


def page(*lines: tuple[str, int, int], width: int = 640, height: int = 360) -> Picture:
    """White text on dark grey; each line stands with its left end on x, y."""
    picture = np.full((height, width, 3), 40, np.uint8)
    for text, x, y in lines:
        cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (255, 255, 255), 2, cv2.LINE_AA)
    return picture


def read(ocr: OcrPlugin, picture: Picture) -> dict[str, Any]:
    """The text and its blocks."""
    return dict(ocr.run_tool("read", {"image": picture}))


def test_text_is_read_line_by_line_from_the_left(ocr: OcrPlugin) -> None:
    picture = page(("WORLD", 400, 80), ("HELLO", 40, 84), ("second line", 40, 200))

    result = read(ocr, picture)

    assert result["text"] == "HELLO\nWORLD\nsecond line"
    assert [block["text"] for block in result["text_blocks"]] == ["HELLO", "WORLD", "second line"]


def test_a_box_holds_its_text_in_pixels_of_the_frame(ocr: OcrPlugin) -> None:
    picture = page(("HELLO", 1000, 600), width=1280, height=720)
    rows, columns = np.where(picture[:, :, 0] > 200)

    (block,) = read(ocr, picture)["text_blocks"]

    x1, y1, x2, y2 = block["box"]
    assert (x1 <= columns.min(), y1 <= rows.min(), x2 > columns.max(), y2 > rows.max()) == (True,) * 4
    assert (x2 - x1 < np.ptp(columns) + 40, y2 - y1 < np.ptp(rows) + 40) == (True, True)
    assert {type(value) for value in block["box"]} == {int}
    assert 0.9 < block["confidence"] <= 1
    assert block["confidence"] == round(block["confidence"], 4)


def test_a_frame_without_text_gives_an_empty_text(ocr: OcrPlugin) -> None:
    assert ocr.run_tool("read", {"image": page()}) == {"text": "", "text_blocks": []}


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1), (16, 2048), (2048, 16), (3, 3)])
def test_frames_of_any_shape_pass(ocr: OcrPlugin, shape: tuple[int, int]) -> None:
    assert ocr.run_tool("read", {"image": np.full((*shape, 3), 90, np.uint8)})["text_blocks"] == []


def test_the_same_frame_gives_the_same_answer_whatever_came_before(ocr: OcrPlugin) -> None:
    picture = page(("HELLO", 40, 80), ("12:45", 500, 300))
    first = ocr.run_tool("read", {"image": picture})

    ocr.run_tool("read", {"image": page(("a much longer line of text", 20, 40), width=800, height=90)})

    assert ocr.run_tool("read", {"image": picture}) == first
    assert create(PluginOptions(inference_threads=1)).run_tool("read", {"image": picture}) == first


def test_a_line_is_read_the_same_in_any_company(ocr: OcrPlugin) -> None:
    """Each recognizer is new, so that none returns a line that it remembers."""
    model, letters = ocr._engine._recognizer._model, models.charset()
    texts = ["12:45", "a very much wider line of text", "HELLO", "two words"]
    lines = [page((text, 20, 40), width=60 + 17 * len(text), height=60) for text in texts]
    alone = [TextRecognizer(model, letters).read(line) for line in lines]

    for order in itertools.permutations(range(len(lines))):
        reader = TextRecognizer(model, letters)
        together = {number: reader.read(lines[number]) for number in order}
        assert [together[number] for number in range(len(lines))] == alone
    assert [reading.text for reading in alone] == texts


def test_a_line_seen_before_is_answered_from_memory_with_the_same_words(ocr: OcrPlugin) -> None:
    runs: list[int] = []

    class Counted(LineModel):
        def run(self, tensor: npt.NDArray[np.float32]) -> Any:
            runs.append(tensor.shape[3])
            return ocr._engine._recognizer._model.run(tensor)

    reader = TextRecognizer(Counted(cast(CompiledModel, None)), models.charset())
    line, other = page(("HELLO", 20, 40), width=160, height=60), page(("HULLO", 20, 40), width=160, height=60)

    readings = [reader.read(picture) for picture in (line, other, line.copy(), other)]

    assert [reading.text for reading in readings] == ["HELLO", "HULLO", "HELLO", "HULLO"]
    assert readings[:2] == readings[2:]
    assert len(runs) == 2


def test_only_so_many_lines_are_remembered(ocr: OcrPlugin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognizer, "_MAX_CACHED", 3)
    reader = TextRecognizer(ocr._engine._recognizer._model, models.charset())

    for level in range(10):
        reader.read(np.full((48, 96, 3), level, np.uint8))

    assert len(reader._cache) == 3


@pytest.mark.parametrize(
    ("width", "filled"), [(1, 96), (96, 96), (97, 192), (672, 672), (673, 768), (3200, 3264)]
)
def test_lines_are_filled_up_to_few_widths(width: int, filled: int) -> None:
    assert recognizer._padded(width) == filled


def test_a_line_too_wide_for_any_text_is_squeezed(ocr: OcrPlugin) -> None:
    assert ocr._engine._recognizer.read(np.full((2, 9000, 3), 80, np.uint8))[0] == ""


def test_a_model_is_kept_for_the_sizes_used_last_only(ocr: OcrPlugin) -> None:
    detector = ocr._engine._detector

    for height in (64, 96, 128, 96):
        with detector.run(np.zeros((height, 64, 3), np.uint8)) as marks:
            assert marks.shape == (1, 1, height, 64)

    assert list(detector._models._models) == [(128, 64), (96, 64)]


def test_threads_that_read_at_once_read_what_one_reads(ocr: OcrPlugin) -> None:
    pages = [page((f"number {n}", 30 + 9 * n, 60 + 20 * n), ("12:45", 400, 300)) for n in range(8)]
    one = create(PluginOptions(inference_threads=1))
    expected = [one.run_tool("read", {"image": picture}) for picture in pages]

    for threads in (2, 4):
        several = create(PluginOptions(inference_threads=threads))
        with ThreadPoolExecutor(threads) as pool:
            assert list(pool.map(lambda p, o=several: o.run_tool("read", {"image": p}), pages)) == expected


READ_OFFLINE = """
import sys

def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "os.fork", "subprocess.Popen"):
        with open(sys.argv[2], "a") as seen:
            print(event, arguments, file=seen)

sys.addaudithook(watch)
from videoqueue.pipeline.service import build_service
texts = [item["result"]["text"] for item in build_service().run_on_file(sys.argv[1], "ocr_only")]
with open(sys.argv[2], "a") as seen:
    print(*texts, file=seen)
"""


def test_a_video_is_read_without_network_without_children_and_without_a_word(
    make_video: MakeVideo, tmp_path: Path
) -> None:
    file = make_video([page(("HELLO", 40, 80)), page()])
    seen = tmp_path / "seen.txt"

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", READ_OFFLINE, str(file), str(seen)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert seen.read_text().split() == ["HELLO"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "seen.txt"]


def test_a_missing_model_is_named_and_not_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(models, "FOLDER", tmp_path)

    with pytest.raises(PipelineError, match=r"file PP-OCRv6_det_small_int8\.xml is missing\. Reinstall"):
        create(PluginOptions())


def block(text: str, *box: int) -> TextBlock:
    return TextBlock(text=text, confidence=1.0, box=list(box))


def test_reading_order_keeps_lines_together_and_apart() -> None:
    blocks = [
        block("d", 0, 100, 50, 120),
        block("b", 60, 4, 90, 24),
        block("c", 100, 0, 130, 20),
        block("a", 0, 8, 50, 28),
        block("tall", 200, 0, 300, 100),
    ]

    assert [entry["text"] for entry in in_reading_order(blocks)] == ["a", "b", "c", "tall", "d"]


def test_a_slanted_row_does_not_drag_the_next_line_in() -> None:
    blocks = [block("a", 40, 0, 50, 20), block("b", 20, 8, 30, 28), block("c", 0, 16, 10, 36)]

    assert [entry["text"] for entry in in_reading_order(blocks)] == ["b", "a", "c"]


def test_reading_order_does_not_depend_on_the_order_found() -> None:
    blocks = [
        block("a", 0, 0, 10, 10),
        block("b", 0, 0, 10, 10),
        block("c", 5, 5, 5, 5),
        block("d", 9, 6, 20, 16),
    ]

    forward, backward = in_reading_order(blocks), in_reading_order(blocks[::-1])

    assert [entry["box"] for entry in forward] == [entry["box"] for entry in backward]


@pytest.mark.parametrize("module", ["ocr.engine", "ocr.models", "ocr.recognizer", "yolo.network"])
def test_importing_a_part_of_a_plugin_loads_no_telemetry_of_openvino(module: str) -> None:
    code = (
        f"import sys, videoqueue.pipeline.plugins.{module}; "
        "print('openvino' in sys.modules, sys.modules['openvino_telemetry'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True None\n"
