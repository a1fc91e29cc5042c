"""Settings of the pipeline: its definitions, its models, and how large a video may be."""

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
_PLUGIN_OPTIONS = {"yolo.model": "yolo_model", "yolo.labels": "yolo_labels", "yolo.family": "yolo_family"}


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
    max_samples: int = setting(
        "VIDEOQUEUE_MAX_SAMPLES",
        whole(1),
        10_000_000,
        "samples",
        "Frames or packets that a track may declare, and all fragments together. The default is 46 hours at "
        "60 a second; FFmpeg keeps about 30 bytes for each.",
    )
    max_audio_values: int = setting(
        "VIDEOQUEUE_MAX_AUDIO_VALUES",
        whole(1),
        2**31,
        "values",
        "Single values that a track of uncompressed audio may declare. The default is 12 hours at 48 kHz.",
    )
    max_edits: int = setting(
        "VIDEOQUEUE_MAX_EDITS", whole(1), 10_000, "edits", "Entries that the edit list of a track may have."
    )
    # An hour of fragments of one frame, 60 a second, with the sound in fragments of its own, takes 5 million.
    max_check_steps: int = setting(
        "VIDEOQUEUE_MAX_CHECK_STEPS",
        whole(10_000),
        7_000_000,
        "steps",
        "Effort of checking a file's boxes and tables, at submission and again before decoding. A step takes "
        "about 0.1 us, the time to skip one box; the default keeps a check under a second.",
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
    def pipeline_options(self) -> PipelineOptions:
        """Returns the options of the pipeline, with the names of the settings for its error texts."""
        plugin_values = {option: getattr(self, field) for option, field in _PLUGIN_OPTIONS.items()}
        variables = {field.name: field.metadata["name"] for field in fields(PipelineSettings)}
        return PipelineOptions(
            pipelines_dir=self.pipelines_dir or None,
            inference_threads=self.inference_threads,
            max_pixels=self.max_pixels,
            max_frames=self.max_frames,
            max_streams=self.max_streams,
            min_decoded_share=self.min_decoded_share,
            accept_truncated=self.accept_truncated,
            check_limits=self.check_limits,
            plugin_values={option: value for option, value in plugin_values.items() if value},
            setting_names=variables | {option: variables[field] for option, field in _PLUGIN_OPTIONS.items()},
        )
