"""The options of the pipeline: their way to another process, and the names of settings in error texts."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from videoqueue.errors import PipelineError
from videoqueue.pipeline.plugin import PluginOptions
from videoqueue.pipeline.plugins.yolo import create
from videoqueue.pipeline_options import PipelineOptions
from videoqueue.settings import load_settings

PACKAGE = Path(__file__).resolve().parents[3] / "videoqueue"
MODULES = [*(PACKAGE / "mp4").rglob("*.py"), *(PACKAGE / "pipeline").rglob("*.py")]


def test_options_reach_another_process_unchanged(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.touch()
    environment = {
        "VIDEOQUEUE_PIPELINES_DIR": str(tmp_path),
        "VIDEOQUEUE_YOLO_MODEL": str(model),
        "VIDEOQUEUE_YOLO_FAMILY": "yolov8",
        "VIDEOQUEUE_YOLO_CONFIDENCE": "0",
        "VIDEOQUEUE_YOLO_IOU": "0.50",
        "VIDEOQUEUE_YOLO_MAX_DETECTIONS": "20",
        "VIDEOQUEUE_TEXT_DETAIL": "2560",
        "VIDEOQUEUE_OCR_CONFIDENCE": "0",
        "VIDEOQUEUE_OCR_RECOGNIZER": str(model),
        "VIDEOQUEUE_OCR_CHARSET": str(model),
        "VIDEOQUEUE_MIN_DECODED_SHARE": "0.1",
        "VIDEOQUEUE_ACCEPT_TRUNCATED": "on",
    }
    options = load_settings(environment).pipeline_options
    assert options.plugin_values == {
        "yolo.model": str(model),
        "yolo.family": "yolov8",
        "yolo.confidence": "0.0",
        "yolo.iou": "0.5",
        "yolo.max_detections": "20",
        "ocr.detail": "2560",
        "ocr.confidence": "0.0",
        "ocr.recognizer": str(model),
        "ocr.charset": str(model),
    }
    assert PipelineOptions(**json.loads(json.dumps(asdict(options)))) == options


def test_every_limit_and_every_option_of_a_plugin_has_the_name_of_its_setting() -> None:
    names = load_settings({}).pipeline_options.setting_names
    limits = [field.name for field in fields(PipelineOptions) if field.name.startswith(("max_", "min_"))]
    assert {name: names[name] for name in limits} == {name: f"VIDEOQUEUE_{name.upper()}" for name in limits}
    assert {name: names[name] for name in names if "." in name} == {
        "yolo.model": "VIDEOQUEUE_YOLO_MODEL",
        "yolo.labels": "VIDEOQUEUE_YOLO_LABELS",
        "yolo.family": "VIDEOQUEUE_YOLO_FAMILY",
        "yolo.confidence": "VIDEOQUEUE_YOLO_CONFIDENCE",
        "yolo.iou": "VIDEOQUEUE_YOLO_IOU",
        "yolo.max_detections": "VIDEOQUEUE_YOLO_MAX_DETECTIONS",
        "ocr.detail": "VIDEOQUEUE_TEXT_DETAIL",
        "ocr.confidence": "VIDEOQUEUE_OCR_CONFIDENCE",
        "ocr.recognizer": "VIDEOQUEUE_OCR_RECOGNIZER",
        "ocr.charset": "VIDEOQUEUE_OCR_CHARSET",
    }


@pytest.mark.parametrize(
    ("setting_names", "expected"),
    [({"yolo.model": "MODEL_OF_MINE"}, "Set MODEL_OF_MINE to"), ({}, "Set yolo.model to")],
)
def test_an_error_names_the_setting_or_else_the_option(setting_names: dict[str, str], expected: str) -> None:
    with pytest.raises(PipelineError, match=expected):
        create(PluginOptions(1, {"yolo.model": "none.onnx"}, setting_names))


def test_no_module_of_the_pipeline_and_of_the_check_names_a_setting() -> None:
    assert len(MODULES) > 80
    assert [file.name for file in MODULES if "VIDEOQUEUE_" in file.read_text()] == []


def test_every_limit_that_an_error_text_names_has_a_setting() -> None:
    text = "".join(file.read_text() for file in MODULES)
    named = set(re.findall(r"\.setting\(['\"](\w+)['\"]\)", text))
    assert {"max_samples", "max_frames", "sandbox_memory_bytes"} <= named
    assert named - load_settings({}).setting_names.keys() == set()
