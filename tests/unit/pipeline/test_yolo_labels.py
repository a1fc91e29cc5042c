from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.yolo_models import Load, Model, Put, detect, end2end, frame, load, yolov8
from videoqueue.errors import PipelineError

__all__ = ["load"]

THIRD = [Put((8, 16, 40, 80), 2)]


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return tmp_path / "labels.txt"


def label_of(load: Load, model: Model, **options: str) -> str:
    (found,) = detect(load(model, **options), frame(64, 96))
    return str(found["label"])


def test_names_come_from_the_model(load: Load) -> None:
    assert label_of(load, Model(yolov8(THIRD), names=["a", "b", "it's"])) == "it's"


def test_a_list_of_names_is_read_like_a_dict(load: Load) -> None:
    assert label_of(load, Model(yolov8(THIRD), names=None, metadata={"names": '["a", "b", "é"]'})) == "é"


def test_the_file_of_names_wins_over_the_model(load: Load, labels: Path) -> None:
    labels.write_text("eins zwei \ndrei\nvier\n\n", encoding="utf-8-sig")

    assert label_of(load, Model(yolov8([Put((8, 16, 40, 80), 0)])), labels=str(labels)) == "eins zwei"


def test_eighty_classes_without_names_are_those_of_coco(load: Load) -> None:
    puts = [Put((8, 16, 40, 80), 79)]

    assert label_of(load, Model(yolov8(puts, classes=80), names=None)) == "toothbrush"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("a\nb\n", r"has 3 classes, but there are 2 names\. Set VIDEOQUEUE_YOLO_LABELS to a file of 3 lines"),
        ("a\nb\nc\nd\n", r"has 3 classes, but there are 4 names"),
        ("a\n\nc\n", r"labels\.txt has nothing in line 2\. It must have one name a line"),
        ("\n", r"labels\.txt is empty\. It must have one name a line"),
    ],
)
def test_a_file_with_other_lines_than_classes_is_refused(
    load: Load, labels: Path, lines: str, message: str
) -> None:
    labels.write_text(lines)

    with pytest.raises(PipelineError, match=message):
        load(Model(yolov8([])), labels=str(labels))


def test_a_file_that_is_missing_or_no_text_is_refused_without_its_folder(load: Load, labels: Path) -> None:
    with pytest.raises(PipelineError, match=r"names labels\.txt cannot be read: No such file"):
        load(Model(yolov8([])), labels=str(labels))

    labels.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(PipelineError, match=r"names labels\.txt is not UTF-8 text"):
        load(Model(yolov8([])), labels=str(labels))


@pytest.mark.parametrize("names", ["person, cat", "{0: 'a', 2: 'b'}", "[]", "5", "open('x')"])
def test_names_in_the_model_that_make_no_list_are_refused(load: Load, names: str) -> None:
    with pytest.raises(
        PipelineError, match=r"class names in its metadata cannot be read\. Set VIDEOQUEUE_YOLO_LABELS"
    ):
        load(Model(yolov8([]), names=None, metadata={"names": names}))


def test_a_file_of_names_replaces_those_that_cannot_be_read(load: Load, labels: Path) -> None:
    labels.write_text("a\nb\nc\n")

    assert (
        label_of(load, Model(yolov8(THIRD), names=None, metadata={"names": "?"}), labels=str(labels)) == "c"
    )


@pytest.mark.parametrize(
    ("model", "count"),
    [(Model(yolov8([]), names=None), "3"), (Model(end2end([]), names=None), "an unknown number of")],
)
def test_classes_without_names_are_refused(load: Load, model: Model, count: str) -> None:
    with pytest.raises(
        PipelineError, match=rf"has {count} classes and no names for them\. Set VIDEOQUEUE_YOLO_LABELS"
    ):
        load(model)


@pytest.mark.parametrize("number", [3, -1])
def test_a_class_that_has_no_name_fails_the_frame(load: Load, number: int) -> None:
    plugin = load(Model(end2end([Put((8, 16, 40, 80), number)])))

    with pytest.raises(
        PipelineError,
        match=rf"returned class {number}, but there are only 3 names\. Set VIDEOQUEUE_YOLO_LABELS",
    ):
        detect(plugin, frame(64, 96))
