"""Finds and reads text as RapidOCR does, and uses its code before and after the models.

The differences are deliberate: the text of a line depends on that line only, the same image always has the
same result, nothing is downloaded, and any number of threads may read at once.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from videoqueue.pipeline.plugins.ocr import models, own_recognizer
from videoqueue.pipeline.plugins.ocr.reading_order import in_reading_order
from videoqueue.pipeline.plugins.ocr.recognizer import TextRecognizer
from videoqueue.pipeline.plugins.ocr.text_options import TextOptions
from videoqueue.pipeline.plugins.openvino import new_core
from videoqueue.pipeline.results import Box, TextBlock

# RapidOCR imports OpenVINO too: after the module that keeps it offline.
from rapidocr.ch_ppocr_det.utils import DBPostProcess  # isort: skip
from rapidocr.utils.process_img import apply_vertical_padding, get_rotate_crop_image  # isort: skip

Image = npt.NDArray[np.uint8]

# Text is detected in a copy of the frame, and recognized in the frame itself. A line needs about 7 pixels of
# height in the copy. Two thirds of the frame find lines of 10 pixels; more than that finds hardly more.
_DETECTION_SHARE = 2 / 3
_MIN_LONG_SIDE = 960
_SIDES_ARE_MULTIPLES_OF = 32
# RapidOCR's limits: a frame that is lower, or wider for its height, is padded above and below.
_MIN_HEIGHT = 30
_MAX_ASPECT_RATIO = 8
# A line that is so high for its width was turned to the left to read it, as RapidOCR does.
_TURNED_ASPECT_RATIO = 1.5
# The end of the recognizer computes in float32: the sixth decimal of a score depends on the processor.
_DECIMALS = 3


class TextEngine:
    """Finds and reads text. Any number of threads may call it at once.

    Attributes:
        identity: Changes with what the options change: the recognizer, its characters and the thresholds.

    Raises:
        PipelineError: A model is missing or cannot be used.
    """

    def __init__(self, threads: int, options: TextOptions) -> None:
        core = new_core()
        self._options = options
        self._detector = models.TextDetector(core, threads)
        self._find_boxes = DBPostProcess(
            thresh=0.3, box_thresh=0.5, max_candidates=1000, unclip_ratio=1.6, use_dilation=True
        )
        if options.recognizer:
            model, charset = own_recognizer.load(core, options, threads)
        else:
            model, charset = models.recognizer(core, threads), models.charset()
        self._recognizer = TextRecognizer(model, charset)
        self.identity = _identity(options, charset)

    def read(self, image: Image) -> list[TextBlock]:
        """Returns the text blocks of a BGR image (height, width, 3) in reading order."""
        found = list(self._read(image))
        return in_reading_order([block for block, _ in found], [turned for _, turned in found])

    def _read(self, image: Image) -> Iterator[tuple[TextBlock, int]]:
        """Yields each block, and by how many degrees its text is turned clockwise."""
        operations: dict[str, Any] = {}
        padded, operations = apply_vertical_padding(image, operations, _MAX_ASPECT_RATIO, _MIN_HEIGHT)
        top = operations["padding_1"]["top"]
        height, width = image.shape[:2]
        for corners in self._find(padded):
            line = get_rotate_crop_image(padded, corners.copy())
            text, score, upside_down = self._recognizer.read(line)
            if text.strip() and score >= self._options.confidence:
                box = _bounding_box(corners - (0, top), width, height)
                turned = (90 if _is_turned(corners) else 0) + (180 if upside_down else 0)
                yield {"text": text, "confidence": round(score, _DECIMALS), "box": box}, turned

    def _find(self, image: Image) -> list[npt.NDArray[np.float32]]:
        """Returns the four corners of each line of text."""
        width, height = detection_size(image.shape[1], image.shape[0], self._options.detail)
        if not (width and height):
            return []
        with self._detector.run(np.asarray(cv2.resize(image, (width, height)), np.uint8)) as probability_map:
            boxes, _ = self._find_boxes(probability_map, image.shape[:2])
        return list(boxes)


def detection_size(width: int, height: int, detail: int) -> tuple[int, int]:
    """Returns the size of the picture in which text is searched in a frame.

    Args:
        width: The width of the frame in pixels.
        height: The height of the frame in pixels.
        detail: The longest side of the picture in pixels.

    Returns:
        Width and height in pixels, multiples of 32; 0 for a side that is too short for the model.

    Example:
        >>> detection_size(1920, 1080, 1920)
        (1280, 704)
    """
    frame = max(width, height)
    long_side = min(frame, detail, max(_MIN_LONG_SIDE, round(frame * _DETECTION_SHARE)))
    ratio, step = long_side / frame, _SIDES_ARE_MULTIPLES_OF
    return round(int(width * ratio) / step) * step, round(int(height * ratio) / step) * step


def _is_turned(corners: npt.NDArray[np.float32]) -> bool:
    """Returns whether `get_rotate_crop_image` turned the line to the left; its corners go clockwise."""
    sides = np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1)
    across, down = int(max(sides[0], sides[2])), int(max(sides[1], sides[3]))
    return down / across >= _TURNED_ASPECT_RATIO


def _identity(options: TextOptions, charset: list[str]) -> str:
    content = hashlib.sha256(f"{options.detail} {options.confidence} {charset}".encode())
    if options.recognizer:
        content.update(options.recognizer.read_bytes())
    return content.hexdigest()[:8]


def _bounding_box(corners: npt.NDArray[np.float32], width: int, height: int) -> Box:
    left, top = (math.floor(value) for value in corners.min(axis=0))
    right, bottom = (math.ceil(value) for value in corners.max(axis=0))
    return [
        min(max(left, 0), width),
        min(max(top, 0), height),
        min(max(right, 0), width),
        min(max(bottom, 0), height),
    ]
