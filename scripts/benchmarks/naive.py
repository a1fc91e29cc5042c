"""The loop that most people would write: one frame after the other, each library as it comes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino

CONFIDENCE, OVERLAP = 0.35, 0.6
SIDE = 416


class Detector:
    """NanoDet-g on OpenVINO with its defaults, in a square picture, with a small decoder of its own."""

    def __init__(self, model: Path) -> None:
        network = openvino.Core().read_model(model)
        self._labels = ast.literal_eval(network.get_rt_info()["framework"]["names"].value)
        network.reshape([1, 3, SIDE, SIDE])
        self._compiled = openvino.compile_model(network, "CPU")

    def __call__(self, frame: np.ndarray) -> list[dict[str, Any]]:
        height, width = frame.shape[:2]
        scale = min(SIDE / width, SIDE / height)
        across, down = round(width * scale), round(height * scale)
        left, top = (SIDE - across) // 2, (SIDE - down) // 2
        picture = np.full((SIDE, SIDE, 3), 114, np.uint8)
        picture[top : top + down, left : left + across] = cv2.resize(frame, (across, down))
        output = self._compiled(cv2.dnn.blobFromImage(picture, 1 / 255, swapRB=True))[0][0]
        found = output[:, output[4:].max(axis=0) >= CONFIDENCE].astype(float)
        scores, classes = found[4:].max(axis=0), found[4:].argmax(axis=0)
        boxes = np.concatenate([found[:2] - found[2:4] / 2, found[2:4]]).T
        kept = (
            cv2.dnn.NMSBoxesBatched(boxes.tolist(), scores.tolist(), classes.tolist(), CONFIDENCE, OVERLAP)
            if len(boxes)
            else []
        )
        corners = np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])
        moved = (corners - [left, top] * 2) / ([across / width, down / height] * 2)
        limits = [width, height] * 2
        return [
            {
                "label": self._labels[classes[number]],
                "confidence": float(scores[number]),
                "box": np.clip(moved[number], 0, limits).tolist(),
            }
            for number in kept
        ]


def make_reader(detector: Path | None) -> Any:
    """frame -> what is found in it; `detector` is the model of objects, None to read text only."""
    from rapidocr import RapidOCR
    from rapidocr.utils.output import RapidOCROutput

    ocr = RapidOCR(params={"Global.log_level": "error"})
    detect = None if detector is None else Detector(detector)

    def read(frame: np.ndarray) -> dict[str, Any]:
        found = ocr(frame)
        assert isinstance(found, RapidOCROutput)
        corners = () if found.boxes is None else np.asarray(found.boxes)
        boxes = [[*box.min(axis=0).tolist(), *box.max(axis=0).tolist()] for box in corners]
        result: dict[str, Any] = {
            "text_blocks": [
                {"text": text, "box": box} for text, box in zip(found.txts or (), boxes, strict=True)
            ]
        }
        if detect is not None:
            result["detections"] = detect(frame)
        return result

    return read


def frames(file: Path) -> Iterator[np.ndarray]:
    capture = cv2.VideoCapture(str(file))
    while True:
        more, frame = capture.read()
        if not more:
            return
        yield frame
