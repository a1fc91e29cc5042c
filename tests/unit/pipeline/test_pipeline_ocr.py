from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_videos import MakeVideo, Picture

from videoqueue.errors import PipelineError
from videoqueue.pipeline.plugin import PluginOptions
from videoqueue.pipeline.plugins.ocr import OcrPlugin, create, engine
from videoqueue.pipeline.plugins.ocr.reading_order import in_reading_order


@pytest.fixture(scope="module")
def ocr() -> OcrPlugin:
    return create(PluginOptions(inference_threads=2))


def page(*lines: tuple[str, int, int], width: int = 640, height: int = 360) -> Picture:
    """White text on dark grey; each line stands with its left end on x, y."""
    picture = np.full((height, width, 3), 40, np.uint8)
    for text, x, y in lines:
        cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (255, 255, 255), 2, cv2.LINE_AA)
    return picture


def test_text_is_read_line_by_line_from_the_left(ocr: OcrPlugin) -> None:
    picture = page(("WORLD", 400, 80), ("HELLO", 40, 84), ("second line", 40, 200))

    result = ocr.run_tool("read", {"image": picture})

    assert result["text"] == "HELLO\nWORLD\nsecond line"
    assert [block["text"] for block in result["text_blocks"]] == ["HELLO", "WORLD", "second line"]


def test_a_box_holds_its_text_in_pixels_of_the_frame(ocr: OcrPlugin) -> None:
    picture = page(("HELLO", 1000, 600), width=1280, height=720)
    rows, columns = np.where(picture[:, :, 0] > 200)

    (block,) = ocr.run_tool("read", {"image": picture})["text_blocks"]

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


def test_a_line_scores_the_same_beside_a_wider_one() -> None:
    recognizer = engine.TextEngine(threads=2)._ocr
    line = page(("12:45", 10, 40), width=110, height=56)
    wider = page(("a very much wider line of text", 10, 40), width=600, height=56)

    alone, together = recognizer.recognize_txt([line]), recognizer.recognize_txt([line, wider])

    assert (together.txts[0], together.scores[0]) == (alone.txts[0], alone.scores[0])


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
    monkeypatch.setattr(engine, "_DETECTOR", tmp_path / "detector.onnx")

    with pytest.raises(PipelineError, match=r"detector\.onnx is missing .* Reinstall"):
        create(PluginOptions())


def block(text: str, *box: int) -> dict[str, object]:
    return {"text": text, "confidence": 1.0, "box": list(box)}


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
