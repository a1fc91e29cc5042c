"""Detects objects in a frame: prepares the picture, runs the model, keeps the best box of each object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from videoqueue.errors import PipelineError
from videoqueue.pipeline.plugins.yolo.formats import OutputFormat
from videoqueue.pipeline.plugins.yolo.heads import Candidates, are_probabilities
from videoqueue.pipeline.plugins.yolo.letterbox import Image, letterbox
from videoqueue.pipeline.plugins.yolo.network import Network
from videoqueue.pipeline.results import Detection

# The defaults of YOLOv5 and its successors for predictions.
DEFAULT_CONFIDENCE = 0.25
#: Bounds the part of a frame in a job's results. Ultralytics has the same limit.
DEFAULT_MAX_DETECTIONS = 300
_DECIMALS = 4


@dataclass(frozen=True)
class Thresholds:
    """Which detections are reported.

    Attributes:
        confidence: The lowest probability of an object and its class, 0..1.
        iou: The intersection over union above which the weaker of two boxes of one class is removed, 0..1;
            None if the model has one box per object.
        max_detections: The most detections of one frame.
    """

    confidence: float
    iou: float | None
    max_detections: int


class ObjectDetector:
    """Detects objects. Several threads may call it at once; the result does not depend on their number."""

    def __init__(
        self, network: Network, output_format: OutputFormat, labels: Sequence[str], thresholds: Thresholds
    ) -> None:
        self._network = network
        self._thresholds = thresholds
        self._output_format = output_format
        self._labels = labels

    def detect(self, frame: Image) -> list[Detection]:
        """Detects objects in a BGR frame (height, width, 3).

        Returns:
            The detections in order of decreasing confidence.

        Raises:
            PipelineError: The model returned boxes or scores that are not numbers, scores that are not from 0
                to 1, or a class that is not whole or has no name.
        """
        size = self._network.size_for(frame.shape[1], frame.shape[0])
        picture, transform = letterbox(frame, size, self._output_format.preprocessing)
        found = self._output_format.decode(self._network.run(picture), size, self._thresholds.confidence)
        self._check(found)
        found = self._best(found)
        detections: list[Detection] = [
            {
                "label": self._labels[number],
                # Rounding within a model may make 1 a little greater.
                "confidence": round(min(float(score), 1.0), _DECIMALS),
                "box": box,
            }
            for number, score, box in zip(
                found.classes, found.scores, transform.to_frame(found.corners).tolist(), strict=True
            )
            # A box in the padding around the frame contains no pixel of it.
            if box[0] < box[2] and box[1] < box[3]
        ]
        return sorted(detections, key=_by_confidence)

    def _best(self, found: Candidates) -> Candidates:
        if self._thresholds.iou is not None and len(found.scores):
            kept = non_max_suppression(found, self._thresholds.iou)
        else:
            kept = np.argsort(-found.scores, kind="stable")
        kept = kept[: self._thresholds.max_detections]
        return Candidates(found.corners[kept], found.scores[kept], found.classes[kept])

    def _check(self, found: Candidates) -> None:
        if not np.isfinite(found.corners).all():
            raise PipelineError(
                "The YOLO model returned boxes that are not numbers. "
                "Export it again, with 32 instead of 16 bits."
            )
        if not are_probabilities(found.scores):
            raise PipelineError(
                f"The YOLO model returned the score {found.scores.max():.3g}. Scores must be probabilities "
                "from 0 to 1. Export it with its last sigmoid."
            )
        unnamed = found.classes[(found.classes < 0) | (found.classes >= len(self._labels))]
        if len(unnamed):
            raise self._network.error(
                f"it returned class {unnamed[0]}, but there are only {len(self._labels)} names. "
                f"Set {self._network.settings.labels} to a file with a name for every class."
            )


def non_max_suppression(found: Candidates, iou: float) -> npt.NDArray[np.intp]:
    """Removes every box that overlaps a better box of its class by more than `iou`.

    Returns:
        The indices of the remaining boxes in order of decreasing score.
    """
    # OpenCV separates the classes by moving each to an area of its own, which needs positive coordinates.
    corners = found.corners - found.corners.min()
    boxes = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
    kept = cv2.dnn.NMSBoxesBatched(boxes.tolist(), found.scores.tolist(), found.classes.tolist(), 0.0, iou)
    return np.asarray(kept, np.intp)


def _by_confidence(detection: Detection) -> tuple[float, str, list[int]]:
    return -detection["confidence"], detection["label"], detection["box"]
