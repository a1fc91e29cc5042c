"""Recognizes single lines of text, with a cache of the last lines."""

from __future__ import annotations

import hashlib
import math
import threading
from collections import OrderedDict
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from rapidocr.ch_ppocr_rec.utils import CTCLabelDecode

from videoqueue.pipeline.plugins.ocr.models import LineModel

# Pad lines to a few widths: the first line of a width takes four times as long, and memory for good.
# The width depends on the line only, because padding to the widest line of the frame changes the scores.
_STEP, _WIDE, _STEP_WHEN_WIDE = 96, 672, 192
# A wider line is compressed. Only very thin lines, or things that are no text, are so wide for their height.
_MAX_WIDTH = 3200
# Captions stay for seconds while the picture behind them moves. An entry takes some hundred bytes.
_MAX_CACHED = 2048
# A line with a lower score is also read upside down. Text that is read upside down scores 0.5 to 0.8.
_SURE = 0.9
# What is read upside down counts from this score on. Below, it is mostly a script that the model cannot read.
_SURE_ENOUGH = 0.8


class Recognition(NamedTuple):
    """What was read in a line.

    Attributes:
        text: The text.
        score: 0 to 1.
        upside_down: Whether the line was turned by 180 degrees to read it.
    """

    text: str
    score: float
    upside_down: bool = False


class TextRecognizer:
    """Recognizes lines of text. Any number of threads may call it at once."""

    def __init__(self, model: LineModel, charset: list[str]) -> None:
        self._model = model
        # It adds the blank and the space to the list that it gets.
        self._decoder = CTCLabelDecode(character=list(charset))
        self._cache_lock = threading.Lock()
        self._cache: OrderedDict[bytes, Recognition] = OrderedDict()

    def read(self, line: npt.NDArray[np.uint8]) -> Recognition:
        """Returns what is written in one line in BGR, from the cache if it was read before."""
        height, width = line.shape[:2]
        most = self._model.width or _MAX_WIDTH
        size = (min(math.ceil(self._model.height * width / height), most), self._model.height)
        line = np.asarray(cv2.resize(line, size), np.uint8)
        # All lines have the same height, so equal bytes mean equal pictures.
        key = hashlib.blake2b(line.data, digest_size=16).digest()
        with self._cache_lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        recognition = self._read_both_ways(line)
        with self._cache_lock:
            self._cache[key] = recognition
            if len(self._cache) > _MAX_CACHED:
                self._cache.popitem(last=False)
        return recognition

    def _read_both_ways(self, line: npt.NDArray[np.uint8]) -> Recognition:
        upright = self._recognize(line)
        if upright.score >= _SURE:
            return upright
        turned = self._recognize(line[::-1, ::-1])
        if turned.score > max(upright.score, _SURE_ENOUGH):
            return turned._replace(upside_down=True)
        return upright

    def _recognize(self, line: npt.NDArray[np.uint8]) -> Recognition:
        height, width = line.shape[:2]
        tensor = np.zeros((1, 3, height, self._model.width or _padded(width)), np.float32)
        pixels = tensor[0, :, :, :width]
        np.divide(line.transpose(2, 0, 1), np.float32(127.5), out=pixels)
        pixels -= 1
        with self._model.run(tensor) as (probabilities,):
            characters = probabilities.argmax(axis=2)
            scores = np.take_along_axis(probabilities, characters[:, :, None], axis=2)[:, :, 0]
        ((decoded,), _) = self._decoder.decode(characters, scores, remove_duplicate=True)
        return Recognition(str(decoded[0]), float(decoded[1]))


def _padded(width: int) -> int:
    step = _STEP if width <= _WIDE else _STEP_WHEN_WIDE
    return math.ceil(width / step) * step
