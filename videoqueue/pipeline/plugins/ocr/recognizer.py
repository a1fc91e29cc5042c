"""Recognizes single lines of text, with a cache of the last lines."""

from __future__ import annotations

import hashlib
import math
import threading
from collections import OrderedDict
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from rapidocr.ch_ppocr_rec.utils import CTCLabelDecode

from videoqueue.pipeline.plugins.openvino import CompiledModel

_HEIGHT = 48
# Pad lines to a few widths: the first line of a width takes four times as long, and memory for good.
# The width depends on the line only, because padding to the widest line of the frame changes the scores.
_STEP, _WIDE, _STEP_WHEN_WIDE = 96, 672, 192
# A wider line is compressed. Only very thin lines, or things that are no text, are so wide for their height.
_MAX_WIDTH = 3200
# Captions stay for seconds while the picture behind them moves. An entry takes some hundred bytes.
_MAX_CACHED = 2048

#: The text of a line and its score, 0 to 1.
Recognition: TypeAlias = tuple[str, float]


class TextRecognizer:
    """Recognizes lines of text. Any number of threads may call it at once."""

    def __init__(self, model: CompiledModel, charset: list[str]) -> None:
        self._model = model
        # It adds the blank and the space to the list that it gets.
        self._decoder = CTCLabelDecode(character=list(charset))
        self._cache_lock = threading.Lock()
        self._cache: OrderedDict[bytes, Recognition] = OrderedDict()

    def read(self, line: npt.NDArray[np.uint8]) -> Recognition:
        """Returns text and score of one upright line in BGR, from the cache if it was read before."""
        height, width = line.shape[:2]
        size = (min(math.ceil(_HEIGHT * width / height), _MAX_WIDTH), _HEIGHT)
        line = np.asarray(cv2.resize(line, size), np.uint8)
        # All lines have the same height, so equal bytes mean equal pictures.
        key = hashlib.blake2b(line.data, digest_size=16).digest()
        with self._cache_lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        recognition = self._recognize(line)
        with self._cache_lock:
            self._cache[key] = recognition
            if len(self._cache) > _MAX_CACHED:
                self._cache.popitem(last=False)
        return recognition

    def _recognize(self, line: npt.NDArray[np.uint8]) -> Recognition:
        width = line.shape[1]
        tensor = np.zeros((1, 3, _HEIGHT, _padded(width)), np.float32)
        pixels = tensor[0, :, :, :width]
        np.divide(line.transpose(2, 0, 1), np.float32(127.5), out=pixels)
        pixels -= 1
        with self._model.run(tensor) as (probabilities,):
            characters = probabilities.argmax(axis=2)
            scores = np.take_along_axis(probabilities, characters[:, :, None], axis=2)[:, :, 0]
        ((decoded,), _) = self._decoder.decode(characters, scores, remove_duplicate=True)
        return str(decoded[0]), float(decoded[1])


def _padded(width: int) -> int:
    step = _STEP if width <= _WIDE else _STEP_WHEN_WIDE
    return math.ceil(width / step) * step
