"""Settings of the pipeline: its definitions, its models, and how large a video may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from videoqueue.settings.values import (
    existing_file,
    existing_folder,
    setting,
    share,
    switch,
    text,
    whole,
)


@dataclass(frozen=True, kw_only=True)
class PipelineSettings:
    inference_threads: int = setting(
        "VIDEOQUEUE_INFERENCE_THREADS",
        whole(1),
        0,
        "threads",
        "Threads that read the frames of one job. Default: the cores that the container or machine gives, at "
        "most 8, divided by (worker processes x worker threads); fewer when a child has no memory for them.",
    )
    default_pipeline: str = setting(
        "VIDEOQUEUE_DEFAULT_PIPELINE", text, "yolo_ocr", "pipeline", "Used when a submission names none."
    )
    pipelines_dir: str = setting(
        "VIDEOQUEUE_PIPELINES_DIR",
        existing_folder,
        "",
        "folder",
        "Pipeline definitions of your own (*.json), beside the built-in ones.",
    )
    yolo_model: str = setting(
        "VIDEOQUEUE_YOLO_MODEL",
        existing_file,
        "",
        "file",
        "The object detector, a YOLO model in ONNX. Default: YOLOv3-tiny, which comes with the package.",
    )
    yolo_labels: str = setting(
        "VIDEOQUEUE_YOLO_LABELS",
        existing_file,
        "",
        "file",
        "Names of the detector's classes, one a line. Default: those in the model, or COCO's 80.",
    )
    yolo_family: str = setting(
        "VIDEOQUEUE_YOLO_FAMILY",
        text,
        "",
        "name",
        "How the detector's output is to be read, where the model does not tell.",
    )
    max_pixels: int = setting(
        "VIDEOQUEUE_MAX_PIXELS",
        whole(1),
        8192 * 4320,
        "pixels",
        "Width x height of the largest frame accepted, in square pixels.",
    )
    max_frames: int = setting(
        "VIDEOQUEUE_MAX_FRAMES",
        whole(1),
        1_000_000,
        "frames",
        "A video with more frames fails, those left out included; counted as they are decoded.",
    )
    max_streams: int = setting(
        "VIDEOQUEUE_MAX_STREAMS",
        whole(1),
        64,
        "tracks",
        "Tracks of any kind that a video may have.",
    )
    accept_truncated: bool = setting(
        "VIDEOQUEUE_ACCEPT_TRUNCATED",
        switch,
        False,
        "on or off",
        "Whether a fragmented video that is cut off is read up to its last whole fragment.",
    )
    min_decoded_share: float = setting(
        "VIDEOQUEUE_MIN_DECODED_SHARE",
        share,
        0.5,
        "share",
        "The share of its frames, from 0 to 1, that a damaged video must have intact, or else it fails.",
    )

    @property
    def pipeline_options(self) -> dict[str, Any]:
        """What `videoqueue.pipeline.service.build_service` takes; plain values, for a child process too."""
        values = {
            "yolo.model": self.yolo_model,
            "yolo.labels": self.yolo_labels,
            "yolo.family": self.yolo_family,
        }
        return {
            "pipelines_dir": self.pipelines_dir or None,
            "inference_threads": self.inference_threads,
            "max_pixels": self.max_pixels,
            "max_decoded_frames": self.max_frames,
            "max_streams": self.max_streams,
            "min_decoded_share": self.min_decoded_share,
            "accept_truncated": self.accept_truncated,
            "plugin_values": {name: value for name, value in values.items() if value},
        }
