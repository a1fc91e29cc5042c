"""Reads one line of text, and remembers the lines read last."""

from __future__ import annotations

import hashlib
import math
import threading
from collections import OrderedDict

import cv2
import numpy as np
import numpy.typing as npt
from rapidocr.ch_ppocr_rec.utils import CTCLabelDecode

from videoqueue.pipeline.plugins.ocr.models import Model

_HEIGHT = 48
# Widths are filled up to few sizes, because the first line of a size takes four times as long, and memory for
# good. The fill depends on the line alone: lines filled up to the widest of their frame score differently in
# other company.
_STEP, _WIDE, _STEP_WHEN_WIDE = 96, 672, 192
# A wider line is squeezed; only a hair of a line, or no line at all, is so wide for its height.
_MOST_WIDTH = 3200
# Captions stand still for seconds while pictures move behind them; some hundred bytes each.
_MOST_REMEMBERED = 2048

Recognition = tuple[str, float]


class TextRecognizer:
    """Reads lines, for any number of threads at once. A line seen before is answered from memory."""

    def __init__(self, model: Model, charset: list[str]) -> None:
        self._model = model
        # It adds letters of its own to the list it is given.
        self._decoder = CTCLabelDecode(character=list(charset))
        self._remembering = threading.Lock()
        self._remembered: OrderedDict[bytes, Recognition] = OrderedDict()

    def read(self, line: npt.NDArray[np.uint8]) -> Recognition:
        """Text and score, 0 to 1, of a BGR image of one upright line."""
        height, width = line.shape[:2]
        size = (min(math.ceil(_HEIGHT * width / height), _MOST_WIDTH), _HEIGHT)
        line = np.asarray(cv2.resize(line, size), np.uint8)
        # All lines have one height, so that equal bytes are equal pictures.
        key = hashlib.blake2b(line.data, digest_size=16).digest()
        with self._remembering:
            if key in self._remembered:
                self._remembered.move_to_end(key)
                return self._remembered[key]
        reading = self._recognize(line)
        with self._remembering:
            self._remembered[key] = reading
            if len(self._remembered) > _MOST_REMEMBERED:
                self._remembered.popitem(last=False)
        return reading

    def _recognize(self, line: npt.NDArray[np.uint8]) -> Recognition:
        width = line.shape[1]
        tensor = np.zeros((1, 3, _HEIGHT, _filled(width)), np.float32)
        pixels = tensor[0, :, :, :width]
        np.divide(line.transpose(2, 0, 1), np.float32(127.5), out=pixels)
        pixels -= 1
        with self._model.run(tensor) as likelihoods:
            letters = likelihoods.argmax(axis=2)
            scores = np.take_along_axis(likelihoods, letters[:, :, None], axis=2)[:, :, 0]
        ((reading,), _) = self._decoder.decode(letters, scores, remove_duplicate=True)
        return str(reading[0]), float(reading[1])


def _filled(width: int) -> int:
    step = _STEP if width <= _WIDE else _STEP_WHEN_WIDE
    return math.ceil(width / step) * step
