"""Settings of the pipeline: its definitions, its models, and the limits of a video."""

from __future__ import annotations

from dataclasses import dataclass, fields

from videoqueue.pipeline_options import PipelineOptions
from videoqueue.settings.values import (
    existing_file,
    existing_folder,
    setting,
    share,
    switch,
    text,
    whole,
)

#: The options of plugins that have a setting, with the field of that setting.
_PLUGIN_OPTIONS = {
    "yolo.model": "yolo_model",
    "yolo.labels": "yolo_labels",
    "yolo.family": "yolo_family",
    "yolo.confidence": "yolo_confidence",
    "yolo.iou": "yolo_iou",
    "yolo.max_detections": "yolo_max_detections",
    "ocr.detail": "text_detail",
    "ocr.confidence": "ocr_confidence",
    "ocr.recognizer": "ocr_recognizer",
    "ocr.charset": "ocr_charset",
}

#: The setting of the worker that an error text of the decoder names. The pipeline also runs without a worker.
_WORKER_SETTINGS = {"sandbox_memory_bytes": "VIDEOQUEUE_SANDBOX_MEMORY_BYTES"}


@dataclass(frozen=True, kw_only=True)
class PipelineSettings:
    """Settings of pipelines, models and decoding."""

    inference_threads: int = setting(
        "VIDEOQUEUE_INFERENCE_THREADS",
        whole(1),
        0,
        "threads",
        "Threads that process the frames of one job. Default: the cores of the container or machine, at most "
        "8, divided by (worker processes x worker threads); fewer if the memory does not suffice.",
    )
    default_pipeline: str = setting(
        "VIDEOQUEUE_DEFAULT_PIPELINE",
        text,
        "yolo_ocr",
        "pipeline",
        "Pipeline of a submission that names none.",
    )
    pipelines_dir: str = setting(
        "VIDEOQUEUE_PIPELINES_DIR",
        existing_folder,
        "",
        "folder",
        "Folder with more pipeline definitions (*.json). The built-in ones remain.",
    )
    yolo_model: str = setting(
        "VIDEOQUEUE_YOLO_MODEL",
        existing_file,
        "",
        "file",
        "Object detector: a YOLO-like model in ONNX. Default: NanoDet-g, which is part of the package.",
    )
    yolo_labels: str = setting(
        "VIDEOQUEUE_YOLO_LABELS",
        existing_file,
        "",
        "file",
        "Names of the detector's classes, one per line. Default: those in the model, or the 80 of COCO.",
    )
    yolo_family: str = setting(
        "VIDEOQUEUE_YOLO_FAMILY",
        text,
        "",
        "name",
        "Output format of the detector, if it cannot be recognised from the model.",
    )
    yolo_confidence: float | None = setting(
        "VIDEOQUEUE_YOLO_CONFIDENCE",
        share,
        None,
        "share",
        "Lowest confidence of a detection, from 0 to 1. Default: the one in the model's metadata (0.35 in "
        "the built-in model), or 0.25.",
    )
    yolo_iou: float | None = setting(
        "VIDEOQUEUE_YOLO_IOU",
        share,
        None,
        "share",
        "Intersection over union of two boxes of one class, from 0 to 1, above which the one with less "
        "confidence is removed. Default: the one in the model's metadata (0.6 in the built-in model), or "
        "that of its family: 0.7 from YOLOv8 on, 0.45 before. Models with one box per object do not use it.",
    )
    yolo_max_detections: int = setting(
        "VIDEOQUEUE_YOLO_MAX_DETECTIONS",
        whole(1),
        300,
        "detections",
        "Maximum number of detections of a frame. Those with the highest confidence are kept.",
    )
    text_detail: int = setting(
        "VIDEOQUEUE_TEXT_DETAIL",
        whole(320, 2560),
        1920,
        "pixels",
        "Longest side of the picture in which text is searched, from 320 to 2560. The picture has two thirds "
        "of the frame's long side, at least 960, and at most this. 2560 finds smaller text in 4K; the search "
        "then takes 1.8 times as long.",
    )
    ocr_confidence: float = setting(
        "VIDEOQUEUE_OCR_CONFIDENCE",
        share,
        0.5,
        "share",
        "Lowest confidence of a line of text, from 0 to 1.",
    )
    ocr_recognizer: str = setting(
        "VIDEOQUEUE_OCR_RECOGNIZER",
        existing_file,
        "",
        "file",
        "Text recognizer: a recognition model of PP-OCR in ONNX. Default: PP-OCRv6 small, which is part of "
        "the package.",
    )
    ocr_charset: str = setting(
        "VIDEOQUEUE_OCR_CHARSET",
        existing_file,
        "",
        "file",
        "Characters of that recognizer, one per line, in the order of its training. Default: those in the "
        "model's metadata.",
    )
    max_pixels: int = setting(
        "VIDEOQUEUE_MAX_PIXELS",
        whole(1),
        8192 * 4320,
        "pixels",
        "Maximum width x height of a frame, in square pixels.",
    )
    max_frames: int = setting(
        "VIDEOQUEUE_MAX_FRAMES",
        whole(1),
        1_000_000,
        "frames",
        "Maximum number of frames of a video, including those that `frame_stride` skips. They are counted "
        "during decoding.",
    )
    max_streams: int = setting(
        "VIDEOQUEUE_MAX_STREAMS",
        whole(1),
        64,
        "tracks",
        "Maximum number of tracks of a video, of any kind.",
    )
    max_samples: int = setting(
        "VIDEOQUEUE_MAX_SAMPLES",
        whole(1),
        10_000_000,
        "samples",
        "Maximum number of frames or packets that a track, or all fragments together, may declare. The "
        "default is 46 hours at 60 per second. FFmpeg uses about 30 bytes for each.",
    )
    max_audio_values: int = setting(
        "VIDEOQUEUE_MAX_AUDIO_VALUES",
        whole(1),
        2**31,
        "values",
        "Maximum number of values of an uncompressed audio track. The default is 12 hours at 48 kHz.",
    )
    max_edits: int = setting(
        "VIDEOQUEUE_MAX_EDITS", whole(1), 10_000, "edits", "Maximum number of entries of an edit list."
    )
    # One hour of one-frame fragments at 60 per second, with audio in separate fragments, takes 5 million
    # steps.
    max_check_steps: int = setting(
        "VIDEOQUEUE_MAX_CHECK_STEPS",
        whole(10_000),
        7_000_000,
        "steps",
        "Maximum number of steps of the check of a file's boxes and tables, at submission and before "
        "decoding. A step takes about 0.1 us, the time to skip one box.",
    )
    accept_truncated: bool = setting(
        "VIDEOQUEUE_ACCEPT_TRUNCATED",
        switch,
        False,
        "on or off",
        "Whether a truncated fragmented video is processed up to its last complete fragment.",
    )
    min_decoded_share: float = setting(
        "VIDEOQUEUE_MIN_DECODED_SHARE",
        share,
        0.5,
        "share",
        "Minimum share of frames of a damaged video that must be decodable, from 0 to 1.",
    )

    @property
    def check_limits(self) -> dict[str, int]:
        """Returns the fields of `videoqueue.mp4.CheckLimits` without `pixels`, for web and worker."""
        return {
            "tracks": self.max_streams,
            "samples": self.max_samples,
            "audio_values": self.max_audio_values,
            "edits": self.max_edits,
            "steps": self.max_check_steps,
        }

    @property
    def own_models(self) -> tuple[str, ...]:
        """Returns the paths of the models that replace built-in ones; empty where none does."""
        return self.yolo_model, self.ocr_recognizer

    @property
    def setting_names(self) -> dict[str, str]:
        """Returns the names of the settings that error texts of the check and the pipeline have, by field."""
        names = {field.name: field.metadata["name"] for field in fields(PipelineSettings)}
        return names | _WORKER_SETTINGS

    @property
    def pipeline_options(self) -> PipelineOptions:
        """Returns the options of the pipeline, with the names of the settings for its error texts."""
        names = self.setting_names
        plugin_values = {option: getattr(self, field) for option, field in _PLUGIN_OPTIONS.items()}
        return PipelineOptions(
            pipelines_dir=self.pipelines_dir or None,
            inference_threads=self.inference_threads,
            max_pixels=self.max_pixels,
            max_frames=self.max_frames,
            max_streams=self.max_streams,
            min_decoded_share=self.min_decoded_share,
            accept_truncated=self.accept_truncated,
            check_limits=self.check_limits,
            plugin_values={
                option: str(value) for option, value in plugin_values.items() if value not in (None, "")
            },
            setting_names=names | {option: names[field] for option, field in _PLUGIN_OPTIONS.items()},
        )
