"""RapidOCR, set up so that it is silent, offline, and gives the same answer every time."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from videoqueue.errors import PipelineError
from videoqueue.pipeline.plugins.offline import keep_openvino_offline

keep_openvino_offline()

import openvino  # noqa: E402
import rapidocr  # noqa: E402

_MODELS = Path(rapidocr.__file__).parent / "models"
_DETECTOR = _MODELS / "PP-OCRv6_det_small.onnx"
_RECOGNIZER = _MODELS / "PP-OCRv6_rec_small.onnx"
# Text is looked for in a copy of this size, and read from the frame itself. Captions and credits of 1280x720
# are found as well as in RapidOCR's own 1308x736, in two thirds of the time.
_DETECTION_LONG_SIDE = 960
_DECIMALS = 4


class TextEngine:
    """Finds and reads text. One thread at a time.

    Raises (when made):
        PipelineError: the models are not where the package keeps them.
    """

    def __init__(self, threads: int) -> None:
        _check_models()
        self._ocr = rapidocr.RapidOCR(params=_parameters(threads))

    def read(self, image: npt.NDArray[np.uint8]) -> list[dict[str, Any]]:
        """The blocks of text in a BGR image (height, width, 3), in no particular order.

        Each is `{"text", "confidence" 0..1, "box" [x1, y1, x2, y2]}`, the box in whole pixels around it.
        """
        found: Any = self._ocr(image)
        if found.txts is None:
            return []
        height, width = image.shape[:2]
        return [
            {
                "text": text,
                "confidence": round(float(score), _DECIMALS),
                "box": _around(corners, width, height),
            }
            for text, score, corners in zip(found.txts, found.scores, found.boxes, strict=True)
        ]


def _around(corners: npt.NDArray[np.float32], width: int, height: int) -> list[int]:
    left, top = (math.floor(value) for value in corners.min(axis=0))
    right, bottom = (math.ceil(value) for value in corners.max(axis=0))
    return [max(left, 0), max(top, 0), min(right, width), min(bottom, height)]


def _parameters(threads: int) -> dict[str, Any]:
    openvino_engine = rapidocr.EngineType.OPENVINO
    return {
        "Global.log_level": "critical",
        # Its angle classifier only turns lines that stand on their head; frames arrive upright.
        "Global.use_cls": False,
        # Its own scaling raises an error on frames that are very thin; the detector scales by itself.
        "Global.use_preprocess_img": False,
        "Det.engine_type": openvino_engine,
        "Det.model_path": str(_DETECTOR),
        "Det.limit_type": "max",
        "Det.limit_side_len": _DETECTION_LONG_SIDE,
        "Rec.engine_type": openvino_engine,
        "Rec.model_path": str(_RECOGNIZER),
        # Lines read together are padded to the widest of them, which changes their scores.
        "Rec.rec_batch_num": 1,
        # RapidOCR ignores a number above the processor's and would take all there are.
        "EngineConfig.openvino.inference_num_threads": max(1, min(threads, os.cpu_count() or 1)),
    }


def _check_models() -> None:
    """RapidOCR downloads what it misses: a model file, or the alphabet that the recognizer carries inside."""
    for model in (_DETECTOR, _RECOGNIZER):
        if not model.is_file():
            raise PipelineError(
                f"The text model {model.name} is missing from the installed package rapidocr. Reinstall it."
            )
    information = openvino.Core().read_model(_RECOGNIZER).get_rt_info()
    if "framework" not in information or "character" not in information["framework"]:
        raise PipelineError(
            "The text model of the installed package rapidocr has no alphabet. Reinstall rapidocr 3.10."
        )
