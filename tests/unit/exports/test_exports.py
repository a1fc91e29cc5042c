"""Each export is read back by a reader that is not ours."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import webvtt
from pycocotools.coco import COCO

from videoqueue.exports.confident import confident
from videoqueue.exports.formats import FORMATS
from videoqueue.pipeline.decode.video_info import VideoInfo
from videoqueue.pipeline.results import FrameItem
from videoqueue.segments.build import segments_of

VIDEO = VideoInfo(width=640, height=360, fps=10.0, duration=4000.0)
#: What text in a video can be, besides words.
HOSTILE = [
    "=SUM(A1:A9)",
    "+1",
    "-1",
    "@cmd",
    "\t=1",
    "\r=1",
    'say "hi", you',
    "two\nlines",
    "two\r\n\r\nparagraphs",
    "<b>bold</b> & <script>alert(1)</script>",
    "00:00:01.000 --> 00:00:02.000",
    "NOTE this",
    "WEBVTT",
    "7",
    "'quoted",
    "Ünïcödé 日本語 \u202eabc",
    "nul\x00 and \x1b[2J",
]


def frame(index: int, texts: list[str], labels: list[str]) -> FrameItem:
    blocks = [
        {"text": text, "confidence": 0.5 + n / 100, "box": [n, 20 * n, 90, 20 * n + 9]}
        for n, text in enumerate(texts)
    ]
    detections = [
        {"label": text, "confidence": 0.4, "box": [n, 2, 50 + n, 40]} for n, text in enumerate(labels)
    ]
    text = "\n".join(texts)
    result = {"text": text, "text_blocks": blocks, "detections": detections, "timestamp": index * 10.0}
    return cast(FrameItem, {"frame_index": index * 3, "result": result})


ITEMS = [frame(0, [], []), frame(1, HOSTILE, ["cat", "=cat", "cat"]), frame(2, ["plain"], ["dog"])]


def exported(name: str, items: list[FrameItem] | None = None, video: VideoInfo = VIDEO) -> bytes:
    given = ITEMS if items is None else items
    return b"".join(FORMATS[name].write(lambda: iter(given), video))


def test_csv_has_a_row_for_each_object_and_line_of_text() -> None:
    rows = list(csv.DictReader(io.StringIO(exported("csv").decode(), newline="")))
    expected = []
    for item in ITEMS:
        result = item["result"]
        for kind, name, blocks in (
            ("detection", "label", result["detections"]),
            ("text", "text", result["text_blocks"]),
        ):
            for block in cast(list[dict[str, Any]], blocks):
                expected.append(
                    (
                        item["frame_index"],
                        result["timestamp"],
                        kind,
                        block[name],
                        block["confidence"],
                        block["box"],
                    )
                )
    read = [
        (
            int(row["frame_index"]),
            float(row["timestamp"]),
            row["kind"],
            row["text"],
            float(row["confidence"]),
            [int(row[side]) for side in ("x1", "y1", "x2", "y2")],
        )
        for row in rows
    ]
    dangerous = ("=", "+", "-", "@", "\t", "\r")
    assert not [row[3] for row in read if row[3].startswith(dangerous)]
    assert [
        row[3][1:] if row[3][:1] == "'" and row[3][1:].startswith(dangerous) else row[3] for row in read
    ] == [row[3] for row in expected]
    assert [(*row[:3], *row[4:]) for row in read] == [(*row[:3], *row[4:]) for row in expected]


def test_jsonl_has_an_item_on_each_line() -> None:
    lines = exported("jsonl").decode().split("\n")
    assert lines.pop() == ""
    assert [json.loads(line) for line in lines] == ITEMS


def _cues(name: str, folder: Path) -> list[tuple[float, float, str]]:
    path = folder / f"cues.{name}"
    path.write_bytes(exported(name))
    read = webvtt.read(str(path)) if name == "vtt" else webvtt.from_srt(str(path))
    return [(cue.start_in_seconds, cue.end_in_seconds, cue.raw_text) for cue in read.captions]


@pytest.mark.parametrize("name", ["vtt", "srt"])
def test_subtitles_are_the_texts_of_the_segments_as_text(name: str, tmp_path: Path) -> None:
    texts = segments_of(lambda: iter(ITEMS), VIDEO)["texts"]
    expected = []
    for text in texts:
        shown = " ".join("".join(c if c >= " " and c != "\x7f" else " " for c in text["text"]).split())
        if name == "vtt":
            shown = shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        else:
            shown = shown.replace("-->", "->")
        expected.append((int(text["start"]), int(text["end"]), shown))
    assert [(start, end, " ".join(text.split())) for start, end, text in _cues(name, tmp_path)] == expected
    assert len(expected) == len(HOSTILE) + 1 - len({"=SUM"}) + 1 or expected


def test_times_of_subtitles_reach_beyond_hours(tmp_path: Path) -> None:
    item = frame(0, ["late"], [])
    item["result"]["timestamp"] = 3 * 3600 + 25 * 60 + 7.0625
    text = exported("vtt", [item], VideoInfo(fps=8.0)).decode()
    assert "03:25:07.062 --> 03:25:07.188\n" in text
    assert "03:25:07,062 --> 03:25:07,188\n" in exported("srt", [item], VideoInfo(fps=8.0)).decode()
    # A cue without a length would not be shown.
    assert "03:25:07.062 --> 03:25:07.063\n" in exported("vtt", [item], VideoInfo()).decode()


def test_coco_has_frames_as_images_and_detections_as_annotations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "coco.json"
    path.write_bytes(exported("coco"))
    read = COCO(str(path))
    capsys.readouterr()
    assert read.getImgIds() == [item["frame_index"] for item in ITEMS]
    assert {(image["width"], image["height"]) for image in read.loadImgs(read.getImgIds())} == {(640, 360)}
    for item in ITEMS:
        found = read.loadAnns(read.getAnnIds(imgIds=[item["frame_index"]]))
        detections = item["result"]["detections"]
        assert [(one["score"], one["bbox"]) for one in found] == [
            (one["confidence"], [one["box"][0], one["box"][1], 50, 38]) for one in detections
        ]
        names = [read.loadCats(one["category_id"])[0]["name"] for one in found]
        assert names == [one["label"] for one in detections]
        assert [one["area"] for one in found] == [50 * 38] * len(found)
    assert sorted(read.getAnnIds()) == [1, 2, 3, 4]
    assert sorted(read.getCatIds()) == [1, 2, 3]


def test_coco_leaves_out_a_box_whose_size_is_no_number_of_json() -> None:
    item = frame(0, [], ["cat", "dog"])
    cast(Any, item["result"]["detections"][0])["box"] = [-1e308, 0, 1e308, 1]
    read = json.loads(exported("coco", [item]), parse_constant=pytest.fail)
    assert [(one["id"], one["category_id"]) for one in read["annotations"]] == [(1, 1)]
    assert [one["name"] for one in read["categories"]] == ["dog"]


def test_coco_without_a_size_is_refused() -> None:
    with pytest.raises(ValueError, match="size"):
        exported("coco", video=VideoInfo())


@pytest.mark.parametrize(
    ("name", "empty"),
    [
        ("csv", b"frame_index,timestamp,kind,text,confidence,x1,y1,x2,y2\r\n"),
        ("jsonl", b""),
        ("vtt", b"WEBVTT\n"),
        ("srt", b""),
        ("coco", b'{"images":[],"annotations":[],"categories":[]}\n'),
    ],
)
def test_no_frames_are_a_valid_file(name: str, empty: bytes) -> None:
    assert exported(name, []) == empty


def test_more_than_one_batch_is_joined_without_a_seam(tmp_path: Path) -> None:
    items = [frame(n, [f"{n} {n * 7919}"], ["cat"]) for n in range(1200)]
    coco = json.loads(exported("coco", items))
    assert (len(coco["images"]), len(coco["annotations"])) == (1200, 1200)
    for name, read in (("vtt", webvtt.read), ("srt", webvtt.from_srt)):
        path = tmp_path / f"many.{name}"
        path.write_bytes(exported(name, items))
        assert [cue.text for cue in read(str(path)).captions] == [item["result"]["text"] for item in items]


def test_what_is_too_unsure_is_left_out_and_the_rest_is_unchanged() -> None:
    items = [frame(0, ["a", "b", "c"], ["cat"]), frame(1, ["a"], [])]
    items[1]["result"]["text_blocks"][0]["confidence"] = 0.9
    opened: Callable[[], Iterator[FrameItem]] = lambda: iter(json.loads(json.dumps(items)))  # noqa: E731
    first, second = confident(opened, 0.51)()
    assert [block["text"] for block in first["result"]["text_blocks"]] == ["b", "c"]
    assert (first["result"]["text"], first["result"]["detections"]) == ("b\nc", [])
    assert second == items[1]


@pytest.mark.parametrize("name", ["csv", "jsonl", "coco"])
def test_memory_does_not_grow_with_the_number_of_frames(name: str) -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        for _ in FORMATS[name].write(lambda: (frame(n, ["text"], ["cat"]) for n in range(count)), VIDEO):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(100)
    assert peak(20_000) < peak(2_000) + 100_000
