"""Frame -> objects: prepares the picture, runs the model, keeps the best box of each object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from videoqueue.errors import PipelineError
from videoqueue.pipeline.plugins.yolo.families import OutputFormat
from videoqueue.pipeline.plugins.yolo.heads import Candidates
from videoqueue.pipeline.plugins.yolo.letterbox import Image, letterbox
from videoqueue.pipeline.plugins.yolo.network import Network

# Least probability of an object and its class, 0..1, and the part of their union that two boxes of one class
# may share before the weaker goes. Both are what YOLOv5 and its successors show people by default.
CONFIDENCE_THRESHOLD = 0.25
IOU_THRESHOLD = 0.45
# Bounds what one frame can add to a job's results; as many as Ultralytics keeps.
MAX_DETECTIONS = 300
_DECIMALS = 4


class Detector:
    """Can be used by several threads at once; the answer does not depend on how many."""

    def __init__(self, network: Network, output_format: OutputFormat, labels: Sequence[str]) -> None:
        self._network = network
        self._output_format = output_format
        self._labels = labels

    def detect(self, frame: Image) -> list[dict[str, Any]]:
        """The objects in a BGR frame (height, width, 3), the surest first.

        Each is `{"label", "confidence" 0..1, "box" [x1, y1, x2, y2]}`, the box in whole pixels of the frame.

        Raises:
            PipelineError: the model gives boxes that are no numbers, or classes without a name.
        """
        picture, transform = letterbox(frame, self._network.size, self._output_format.preprocessing)
        found = self._output_format.decode(self._network.run(picture), CONFIDENCE_THRESHOLD)
        self._check(found)
        found = self._best(found)
        detections = [
            {"label": self._labels[number], "confidence": round(float(score), _DECIMALS), "box": box}
            for number, score, box in zip(
                found.classes, found.scores, transform.to_frame(found.corners).tolist(), strict=True
            )
            # What is found in the border around the frame has no pixel of it.
            if box[0] < box[2] and box[1] < box[3]
        ]
        return sorted(detections, key=_surest_first)

    def _best(self, found: Candidates) -> Candidates:
        if self._output_format.overlapping and len(found.scores):
            kept = non_max_suppression(found)
        else:
            kept = np.argsort(-found.scores, kind="stable")
        kept = kept[:MAX_DETECTIONS]
        return Candidates(found.corners[kept], found.scores[kept], found.classes[kept])

    def _check(self, found: Candidates) -> None:
        if not np.isfinite(found.corners).all():
            raise PipelineError(
                "The YOLO model gave boxes that are no numbers. Export it again, with 32 instead of 16 bits."
            )
        unnamed = found.classes[(found.classes < 0) | (found.classes >= len(self._labels))]
        if len(unnamed):
            raise self._network.fault(
                f"it gave class {unnamed[0]}, but there are only {len(self._labels)} names. "
                "Set VIDEOQUEUE_YOLO_LABELS to a file with a name for every class."
            )


def non_max_suppression(found: Candidates) -> npt.NDArray[np.intp]:
    # OpenCV keeps the classes apart by moving each to a place of its own, which needs boxes above zero.
    corners = found.corners - found.corners.min()
    boxes = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
    kept = cv2.dnn.NMSBoxesBatched(
        boxes.tolist(), found.scores.tolist(), found.classes.tolist(), 0.0, IOU_THRESHOLD
    )
    return np.asarray(kept, np.intp)


def _surest_first(detection: dict[str, Any]) -> tuple[float, str, list[int]]:
    return -detection["confidence"], detection["label"], detection["box"]
