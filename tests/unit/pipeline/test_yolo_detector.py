from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import videoqueue
from tests.support.yolo_models import Load, Model, Put, detect, end2end, frame, load, yolov5, yolov8
from videoqueue.errors import PipelineError
from videoqueue.pipeline.decode.decoder import open_video
from videoqueue.pipeline.plugin import PluginOptions
from videoqueue.pipeline.plugins import yolo
from videoqueue.pipeline.plugins.yolo.network import Network
from videoqueue.pipeline.service import build_service

__all__ = ["load"]

OUTPUTS = Path(__file__).resolve().parents[3] / "scripts" / "detection" / "outputs.py"
SAMPLE = Path(videoqueue.__file__).parent / "cli" / "sample.mp4"
HAND_DRAWN = json.loads((Path(__file__).parent / "data" / "sample_boxes.json").read_text())
BOX = (8.0, 16.0, 40.0, 80.0)
Picture = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def sample_frames() -> dict[int, Picture]:
    """The frames that boxes were drawn on, by index."""
    wanted = {entry["frame"] for entry in HAND_DRAWN}
    with open_video(SAMPLE) as video:
        return {seen.index: seen.image() for seen in video.frames() if seen.index in wanted}


@pytest.fixture(scope="module")
def shipped() -> yolo.YoloPlugin:
    return yolo.create(PluginOptions(inference_threads=2))


def iou(first: list[int], second: list[int]) -> float:
    """Common area of two boxes x1 y1 x2 y2 as a part of the area of both."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    common = max(width, 0) * max(height, 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return common / (areas - common)


@pytest.mark.parametrize("entry", HAND_DRAWN, ids=lambda entry: f"{entry['label']}-{entry['frame']}")
def test_the_shipped_model_finds_what_was_drawn_by_hand(
    shipped: yolo.YoloPlugin, sample_frames: dict[int, Picture], entry: dict[str, Any]
) -> None:
    best = detect(shipped, sample_frames[entry["frame"]])[0]

    assert best["label"] == entry["label"]
    assert iou(best["box"], entry["box"]) >= 0.75
    assert best["confidence"] >= 0.55


def test_both_pipelines_find_the_person_and_one_reads_her_name() -> None:
    service = build_service()

    (seen,) = service.run_on_file(SAMPLE, "yolo_ocr", frame_stride=10, max_frames=2)[1:]
    (alone,) = service.run_on_file(SAMPLE, "yolo_only", frame_stride=10, max_frames=2)[1:]

    assert set(seen["result"]) == {"detections", "text", "text_blocks", "timestamp"}
    assert set(alone["result"]) == {"detections", "timestamp"}
    assert seen["result"]["detections"] == alone["result"]["detections"]
    assert seen["result"]["detections"][0]["label"] == "person"
    assert "Eileen Collins, NASA astronaut" in seen["result"]["text"]


def test_an_empty_frame_has_no_detections(shipped: yolo.YoloPlugin) -> None:
    assert shipped.run_tool("detect", {"image": frame(640, 360)}) == {"detections": []}


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (2, 2)])
def test_frames_of_any_shape_pass(shipped: yolo.YoloPlugin, shape: tuple[int, int]) -> None:
    assert detect(shipped, np.full((*shape, 3), 200, np.uint8)) == []


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_raw_output_is_the_same_bit_for_bit_with_any_number_of_threads(
    sample_frames: dict[int, Picture], threads: int
) -> None:
    """Several times over: OpenVINO may prepare a model wrongly in one of its streams."""
    pictures = [picture_of(image) for image in sample_frames.values()]
    alone = Network(yolo.DEFAULT_MODEL, 1)
    expected = [digest(alone, picture) for picture in pictures]

    for _ in range(3):
        network = Network(yolo.DEFAULT_MODEL, threads)
        ready = threading.Barrier(threads)

        def all_of_them(network: Network = network, ready: threading.Barrier = ready) -> list[str]:
            ready.wait(timeout=30)
            return [digest(network, picture) for picture in pictures]

        with ThreadPoolExecutor(threads) as pool:
            answers = [pool.submit(all_of_them) for _ in range(threads)]
            assert [answer.result() for answer in answers] == [expected] * threads


# Prints the digest of the raw output for a picture of given noise.
DIGEST = """
import hashlib, sys
import numpy as np
from videoqueue.pipeline.plugins.yolo import DEFAULT_MODEL
from videoqueue.pipeline.plugins.yolo.network import Network

pixels = np.random.default_rng(0).random((2, 1, 3, 288, 512), np.float32)
outputs = [output for picture in pixels for output in Network(DEFAULT_MODEL, 1).run(picture)]
print(hashlib.sha256(b"".join(output.tobytes() for output in outputs)).hexdigest())
"""


@pytest.mark.parametrize("command", [["-c", DIGEST], [str(OUTPUTS)]], ids=["noise", "sample"])
def test_the_raw_output_is_the_same_bit_for_bit_without_the_newer_instructions(command: list[str]) -> None:
    """OneDNN then has no VNNI: products of 8 bits are added in 16 bits, which must not overflow."""

    def printed(**variables: str) -> str:
        done = subprocess.run(
            [sys.executable, *command],
            env=os.environ | variables,
            capture_output=True,
            check=True,
            timeout=120,
        )
        return done.stdout.decode()

    native = printed()
    assert len(native.split()[-1]) == 64
    assert printed(ONEDNN_MAX_CPU_ISA="AVX2") == native


def picture_of(image: Picture) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(image[:288, 400:912].transpose(2, 0, 1)[None] / np.float32(255))


def digest(network: Network, picture: npt.NDArray[np.float32]) -> str:
    return hashlib.sha256(b"".join(output.tobytes() for output in network.run(picture))).hexdigest()


def test_threads_do_not_see_each_others_frames(
    shipped: yolo.YoloPlugin, sample_frames: dict[int, Picture]
) -> None:
    expected = {index: detect(shipped, image) for index, image in sample_frames.items()}

    def again(index: int) -> tuple[int, list[dict[str, Any]]]:
        return index, detect(shipped, sample_frames[index])

    with ThreadPoolExecutor(4) as pool:
        assert all(found == expected[index] for index, found in pool.map(again, list(expected) * 4))


def test_a_stronger_box_hides_one_of_its_class_that_overlaps(load: Load) -> None:
    weak, strong = Put((10, 16, 42, 80), 1, 0.6), Put(BOX, 1, 0.8)
    beside, other = Put((25, 16, 57, 80), 1, 0.7), Put((9, 16, 41, 80), 2, 0.5)

    found = detect(load(Model(yolov8([weak, strong, beside, other]))), frame(64, 96))

    assert [(entry["label"], entry["confidence"]) for entry in found] == [("b", 0.8), ("b", 0.7), ("c", 0.5)]


def test_boxes_of_different_classes_never_hide_each_other_even_above_the_frame(load: Load) -> None:
    """OpenCV sets classes apart by the widest box: one that begins below zero could reach the next class."""
    puts = [Put((0, 0, 60, 60), 0, 0.9), Put((-61, -61, 25, 25), 1, 0.8)]

    found = detect(load(Model(yolov8(puts))), frame(64, 96))

    assert [entry["label"] for entry in found] == ["a", "b"]


def test_finished_boxes_are_kept_though_they_overlap(load: Load) -> None:
    puts = [Put(BOX, 1, 0.6), Put(BOX, 1, 0.8)]

    found = detect(load(Model(end2end(puts))), frame(64, 96))

    assert [entry["confidence"] for entry in found] == [0.8, 0.6]


def test_a_confidence_of_a_quarter_counts_and_less_does_not(load: Load) -> None:
    puts = [Put(BOX, 0, 0.25), Put(BOX, 1, 0.2499)]

    found = detect(load(Model(end2end(puts))), frame(64, 96))

    assert [(entry["label"], entry["confidence"]) for entry in found] == [("a", 0.25)]


def test_a_class_must_be_as_sure_as_the_object(load: Load) -> None:
    (output,) = yolov5([Put(BOX, 0, 0.9), Put((8, 16, 60, 30), 1, 0.9)])
    output[0, 1, 6] = 0.25

    found = detect(load(Model([output])), frame(64, 96))

    assert [(entry["label"], entry["confidence"]) for entry in found] == [("a", 0.9)]


def test_equal_confidences_are_sorted_by_label_and_box(load: Load) -> None:
    boxes = [(32.0, 0.0, 64.0, 32.0), (0.0, 0.0, 30.0, 32.0)]
    puts = [Put(box, number, 0.5) for number in (1, 0) for box in boxes]

    found = detect(load(Model(yolov8(puts))), frame(64, 96))

    assert [(entry["label"], entry["box"][0]) for entry in found] == [
        ("a", 0),
        ("a", 32),
        ("b", 0),
        ("b", 32),
    ]


def test_boxes_are_clipped_to_the_frame_and_those_beside_it_left_out(load: Load) -> None:
    puts = [Put((-20, -20, 32, 48), 0, 0.9), Put((32, 48, 90, 120), 1, 0.8), Put((8, 2, 40, 20), 2, 0.7)]

    found = detect(load(Model(end2end(puts))), frame(128, 96))

    assert [(entry["label"], entry["box"]) for entry in found] == [
        ("a", [0, 0, 64, 48]),
        ("b", [64, 48, 128, 96]),
    ]


def test_a_frame_gives_at_most_300_detections(load: Load) -> None:
    puts = [Put(BOX, 0, 0.3 + number / 1000) for number in range(400)]

    found = detect(load(Model(end2end(puts, rows=400))), frame(64, 96))

    assert (len(found), found[0]["confidence"], found[-1]["confidence"]) == (300, 0.699, 0.4)


def test_results_are_plain_values(shipped: yolo.YoloPlugin, sample_frames: dict[int, Picture]) -> None:
    found = detect(shipped, sample_frames[10])[0]

    types = [type(value) for value in (found["label"], found["confidence"], found["box"], *found["box"])]
    assert types == [str, float, list, int, int, int, int]


def test_the_version_tells_models_names_and_readings_apart(load: Load, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("x\ny\nz\n")
    here, there = Model(yolov8([Put(BOX)])), Model(yolov8([]))

    versions = [
        load(model, **options).manifest.version
        for model, options in (
            (here, {}),
            (there, {}),
            (here, {"labels": str(labels)}),
            (here, {"family": "yolov8"}),
            (here, {}),
        )
    ]

    assert (len(set(versions)), versions[0] == versions[3] == versions[4]) == (3, True)
    assert all(version.startswith("1.1+") for version in versions)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ((0, 0, 4), np.nan, "scores that are not numbers"),
        ((0, 0, 1), np.nan, "boxes that are not numbers"),
        ((0, 0, 2), np.inf, "boxes that are not numbers"),
    ],
)
def test_a_model_that_gives_no_numbers_fails_the_frame(
    load: Load, place: tuple[int, int, int], value: float, message: str
) -> None:
    (output,) = end2end([Put(BOX)])
    output[place] = value

    with pytest.raises(PipelineError, match=message):
        detect(load(Model([output])), frame(64, 96))


def test_the_note_on_the_shipped_model_is_about_these_very_files() -> None:
    note = yolo.DEFAULT_MODEL.with_name("README.md").read_text()

    for file in (yolo.DEFAULT_MODEL, yolo.DEFAULT_MODEL.with_suffix(".bin")):
        assert f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}" in note
    assert "Apache-2.0" in note
    assert "converted and quantised" in note
    assert {"LICENSE.Apache-2.0.txt", "LICENSE.MIT.txt"} <= {
        file.name for file in yolo.DEFAULT_MODEL.parent.iterdir()
    }
