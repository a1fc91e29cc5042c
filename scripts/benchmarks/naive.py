"""The loop that most people would write: one frame after the other, each library as it comes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

CONFIDENCE, OVERLAP = 0.25, 0.45


class Yolo:
    """YOLOv3-tiny on ONNX Runtime with a small decoder of its own."""

    def __init__(self, model: Path, labels: Path) -> None:
        import onnxruntime

        self._session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        metadata = self._session.get_modelmeta().custom_metadata_map
        self._anchors = np.array(ast.literal_eval(metadata["anchors"]), float)
        self._masks = ast.literal_eval(metadata["masks"])
        self._input = self._session.get_inputs()[0].name
        self._labels = labels.read_text().splitlines()

    def __call__(self, frame: np.ndarray) -> list[dict[str, Any]]:
        height, width = frame.shape[:2]
        scale = min(416 / width, 416 / height)
        across, down = round(width * scale), round(height * scale)
        left, top = (416 - across) // 2, (416 - down) // 2
        picture = np.full((416, 416, 3), 128, np.uint8)
        picture[top : top + down, left : left + across] = cv2.resize(frame, (across, down))
        blob = cv2.dnn.blobFromImage(picture, 1 / 255, swapRB=True)
        boxes, scores, classes = [], [], []
        for head, mask in zip(self._session.run(None, {self._input: blob}), self._masks, strict=True):
            cells = head.shape[2]
            maps = head.reshape(len(mask), -1, cells, cells)
            sure = 1 / (1 + np.exp(-maps[:, 4]))
            for anchor, row, column in zip(*np.nonzero(sure >= CONFIDENCE), strict=True):
                x, y, w, h, _, *likely = maps[anchor, :, row, column].astype(float)
                likely = 1 / (1 + np.exp(-np.array(likely)))
                score = sure[anchor, row, column] * likely.max()
                if score < CONFIDENCE:
                    continue
                x, y = (1 / (1 + np.exp(-np.array([x, y]))) + (column, row)) * 416 / cells
                w, h = np.exp([w, h]) * self._anchors[mask[anchor]]
                boxes.append([x - w / 2, y - h / 2, w, h])
                scores.append(float(score))
                classes.append(int(likely.argmax()))
        kept = cv2.dnn.NMSBoxesBatched(boxes, scores, classes, CONFIDENCE, OVERLAP) if boxes else []
        limits = [width, height, width, height]
        return [
            {
                "label": self._labels[classes[number]],
                "confidence": scores[number],
                "box": np.clip(
                    _corners(boxes[number], left, top, across / width, down / height), 0, limits
                ).tolist(),
            }
            for number in kept
        ]


def _corners(box: list[float], left: int, top: int, across: float, down: float) -> list[float]:
    x, y, w, h = box
    return [(x - left) / across, (y - top) / down, (x + w - left) / across, (y + h - top) / down]


def make_reader(yolo: Path | None) -> Any:
    """frame -> what is found in it; `yolo` is the folder of the plugin, None to read text only."""
    from rapidocr import RapidOCR
    from rapidocr.utils.output import RapidOCROutput

    ocr = RapidOCR(params={"Global.log_level": "error"})
    detect = None if yolo is None else Yolo(yolo / "yolov3-tiny.onnx", yolo / "coco.txt")

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
