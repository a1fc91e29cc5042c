"""The options of the pipeline: settings provide them, and the process that decodes videos receives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class PipelineOptions:
    """What `videoqueue.pipeline.service.build_service` needs.

    Every value is plain JSON, so `asdict` and `json` carry the options to another process unchanged.

    Attributes:
        pipelines_dir: A folder of pipeline files to use in addition to the built-in ones.
        inference_threads: How many frames run through the models at once, at least 1.
        decoder_threads: The number of threads that convert the pixels of a frame, at least 1.
        max_pixels: The largest width x height of a frame; None means no limit.
        max_frames: The most frames that are decoded, skipped ones included; None means no limit.
        max_streams: The most tracks of any kind; None means no limit.
        min_decoded_share: The share of a video's frames, from 0 to 1, that must be intact.
        accept_truncated: Whether the complete fragments of a truncated fragmented file are read.
        check_limits: Fields of `videoqueue.mp4.CheckLimits`, except `pixels`.
        plugin_values: Options of plugins by name, such as "yolo.model".
        setting_names: What the operator calls an option, by its name here or in `plugin_values`. Error texts
            use these names, so that the pipeline does not have to know the settings.
    """

    pipelines_dir: str | None = None
    inference_threads: int = 1
    decoder_threads: int = 1
    max_pixels: int | None = None
    max_frames: int | None = None
    max_streams: int | None = None
    min_decoded_share: float = 0.5
    accept_truncated: bool = False
    check_limits: Mapping[str, int] = field(default_factory=dict)
    plugin_values: Mapping[str, str] = field(default_factory=dict)
    setting_names: Mapping[str, str] = field(default_factory=dict)
