"""Finds and reads text as RapidOCR does, with its own steps before and after the models.

Differences are deliberate: a line's answer depends on that line alone, the same image gives the same answer
every time, nothing is fetched, and any number of threads may read at once.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from videoqueue.pipeline.plugins.ocr import models
from videoqueue.pipeline.plugins.ocr.recognizer import TextRecognizer

# After `models`, which keeps OpenVINO offline: RapidOCR imports it too.
from rapidocr.ch_ppocr_det.utils import DBPostProcess  # isort: skip
from rapidocr.utils.process_img import apply_vertical_padding, get_rotate_crop_image  # isort: skip

Image = npt.NDArray[np.uint8]

# Text is looked for in a copy of this size, and read from the frame itself. Captions and credits of 1280x720
# are found as well as in RapidOCR's own 1308x736, in two thirds of the time.
_DETECTION_LONG_SIDE = 960
_SIDES_ARE_MULTIPLES_OF = 32
# RapidOCR's own limits: a frame is padded above and below when it is lower, or wider for its height.
_LEAST_HEIGHT = 30
_MOST_WIDTH_FOR_HEIGHT = 8
_LEAST_SCORE = 0.5
_DECIMALS = 4


class TextEngine:
    """Finds and reads text, for any number of threads at once.

    Raises (when made):
        PipelineError: a model is missing.
    """

    def __init__(self, threads: int) -> None:
        core = models.new_core()
        self._detector = models.TextDetector(core, threads)
        self._boxes_of = DBPostProcess(
            thresh=0.3, box_thresh=0.5, max_candidates=1000, unclip_ratio=1.6, use_dilation=True
        )
        self._reader = TextRecognizer(models.recognizer(core, threads), models.charset())

    def read(self, image: Image) -> list[dict[str, Any]]:
        """The blocks of text in a BGR image (height, width, 3), in no particular order.

        Each is `{"text", "confidence" 0..1, "box" [x1, y1, x2, y2]}`, the box in whole pixels around it.
        """
        done: dict[str, Any] = {}
        padded, done = apply_vertical_padding(image, done, _MOST_WIDTH_FOR_HEIGHT, _LEAST_HEIGHT)
        above = done["padding_1"]["top"]
        height, width = image.shape[:2]
        blocks = []
        for corners in self._find(padded):
            text, score = self._reader.read(get_rotate_crop_image(padded, corners.copy()))
            if text.strip() and score >= _LEAST_SCORE:
                box = _around(corners - (0, above), width, height)
                blocks.append({"text": text, "confidence": round(score, _DECIMALS), "box": box})
        return blocks

    def _find(self, image: Image) -> list[npt.NDArray[np.float32]]:
        """The four corners of every line of text."""
        width, height = _detection_size(image.shape[1], image.shape[0])
        if not (width and height):
            return []
        with self._detector.run(np.asarray(cv2.resize(image, (width, height)), np.uint8)) as probability_map:
            boxes, _ = self._boxes_of(probability_map, image.shape[:2])
        return list(boxes)


def _detection_size(width: int, height: int) -> tuple[int, int]:
    """Zero for a side so thin that it vanishes."""
    ratio = min(1.0, _DETECTION_LONG_SIDE / max(width, height))
    step = _SIDES_ARE_MULTIPLES_OF
    return round(int(width * ratio) / step) * step, round(int(height * ratio) / step) * step


def _around(corners: npt.NDArray[np.float32], width: int, height: int) -> list[int]:
    left, top = (math.floor(value) for value in corners.min(axis=0))
    right, bottom = (math.ceil(value) for value in corners.max(axis=0))
    return [
        min(max(left, 0), width),
        min(max(top, 0), height),
        min(max(right, 0), width),
        min(max(bottom, 0), height),
    ]
