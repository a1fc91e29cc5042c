"""Finds and reads text as RapidOCR does, and uses its code before and after the models.

The differences are deliberate: the text of a line depends on that line only, the same image always has the
same result, nothing is downloaded, and any number of threads may read at once.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from videoqueue.pipeline.plugins.ocr import models
from videoqueue.pipeline.plugins.ocr.recognizer import TextRecognizer
from videoqueue.pipeline.plugins.openvino import new_core
from videoqueue.pipeline.results import Box, TextBlock

# RapidOCR imports OpenVINO too: after the module that keeps it offline.
from rapidocr.ch_ppocr_det.utils import DBPostProcess  # isort: skip
from rapidocr.utils.process_img import apply_vertical_padding, get_rotate_crop_image  # isort: skip

Image = npt.NDArray[np.uint8]

# Text is detected in a copy of this size, and recognized in the frame itself. Captions and credits are found
# as well as with RapidOCR's size (1308x736 for a frame of 1280x720), in two thirds of the time.
_DETECTION_LONG_SIDE = 960
_SIDES_ARE_MULTIPLES_OF = 32
# RapidOCR's limits: a frame that is lower, or wider for its height, is padded above and below.
_MIN_HEIGHT = 30
_MAX_ASPECT_RATIO = 8
_MIN_SCORE = 0.5
_DECIMALS = 4


class TextEngine:
    """Finds and reads text. Any number of threads may call it at once.

    Raises:
        PipelineError: A model is missing.
    """

    def __init__(self, threads: int) -> None:
        core = new_core()
        self._detector = models.TextDetector(core, threads)
        self._find_boxes = DBPostProcess(
            thresh=0.3, box_thresh=0.5, max_candidates=1000, unclip_ratio=1.6, use_dilation=True
        )
        self._recognizer = TextRecognizer(models.recognizer(core, threads), models.charset())

    def read(self, image: Image) -> list[TextBlock]:
        """Returns the text blocks of a BGR image (height, width, 3) in no particular order."""
        operations: dict[str, Any] = {}
        padded, operations = apply_vertical_padding(image, operations, _MAX_ASPECT_RATIO, _MIN_HEIGHT)
        top = operations["padding_1"]["top"]
        height, width = image.shape[:2]
        blocks: list[TextBlock] = []
        for corners in self._find(padded):
            text, score = self._recognizer.read(get_rotate_crop_image(padded, corners.copy()))
            if text.strip() and score >= _MIN_SCORE:
                box = _bounding_box(corners - (0, top), width, height)
                blocks.append({"text": text, "confidence": round(score, _DECIMALS), "box": box})
        return blocks

    def _find(self, image: Image) -> list[npt.NDArray[np.float32]]:
        """Returns the four corners of each line of text."""
        width, height = _detection_size(image.shape[1], image.shape[0])
        if not (width and height):
            return []
        with self._detector.run(np.asarray(cv2.resize(image, (width, height)), np.uint8)) as probability_map:
            boxes, _ = self._find_boxes(probability_map, image.shape[:2])
        return list(boxes)


def _detection_size(width: int, height: int) -> tuple[int, int]:
    """Returns width and height; 0 for a side that is too short for the model."""
    ratio = min(1.0, _DETECTION_LONG_SIDE / max(width, height))
    step = _SIDES_ARE_MULTIPLES_OF
    return round(int(width * ratio) / step) * step, round(int(height * ratio) / step) * step


def _bounding_box(corners: npt.NDArray[np.float32], width: int, height: int) -> Box:
    left, top = (math.floor(value) for value in corners.min(axis=0))
    right, bottom = (math.ceil(value) for value in corners.max(axis=0))
    return [
        min(max(left, 0), width),
        min(max(top, 0), height),
        min(max(right, 0), width),
        min(max(bottom, 0), height),
    ]
