"""Runs a video file through a pipeline, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videoqueue.errors import OutOfMemoryError, PermanentError, PipelineError
from videoqueue.mp4 import CheckLimits
from videoqueue.pipeline.dag import TIMESTAMP, DagPipelineService
from videoqueue.pipeline.decode.decoder import LIBRARY_VERSIONS, Frame, Video, open_video
from videoqueue.pipeline.decode.limits import DecodeLimits
from videoqueue.pipeline.decode.video_info import VideoInfo
from videoqueue.pipeline.definitions.definition import PipelineDefinition, find, load_definitions
from videoqueue.pipeline.frame_pool import FramePool, FrameTask
from videoqueue.pipeline.plugin import PluginOptions
from videoqueue.pipeline.progress import Progress
from videoqueue.pipeline.registry import PluginRegistry
from videoqueue.pipeline.version.pipelines import code_of_process, pipeline_version

Item = dict[str, Any]

# A frame's way to its models and back would leave a core idle: one more than can compute is under way.
_PREPARING = 1


class VideoFilePipelineService:
    """Video file in, one item per frame out. Plugins are loaded when a pipeline that uses them first runs.

    `inference_threads` frames compute at once, and one more is prepared; the items come in order and are the
    same for any number.

    An item is `{"frame_index": int, "result": {...outputs of the pipeline, "timestamp": seconds}}`.

        >>> service = build_service()
        >>> service.run_on_file("clip.mp4", "ocr_only", max_frames=1)[0]["result"]["text"]
        'BREAKING NEWS'
    """

    def __init__(
        self,
        definitions: Mapping[str, PipelineDefinition],
        registry: PluginRegistry,
        bounds: DecodeLimits | None = None,
        decoder_threads: int = 1,
        inference_threads: int = 1,
    ) -> None:
        self._definitions = definitions
        self._registry = registry
        self._bounds = bounds or DecodeLimits()
        self._decoder_threads = decoder_threads
        self._inference_threads = inference_threads
        self._pipelines: dict[str, tuple[DagPipelineService, str]] = {}
        # Now, because modules that are loaded stay as they are when their files change.
        self._code = {**code_of_process(), "ffmpeg": LIBRARY_VERSIONS}

    def run_on_file(
        self, mp4_path: str | Path, pipeline_id: str, frame_stride: int = 1, max_frames: int | None = None
    ) -> list[Item]:
        """All items of `iter_file`, in a list."""
        return list(self.iter_file(mp4_path, pipeline_id, frame_stride, max_frames))

    def iter_file(
        self,
        mp4_path: str | Path,
        pipeline_id: str,
        frame_stride: int = 1,
        max_frames: int | None = None,
        start_after: int | None = None,
        on_progress: Callable[[float], None] | None = None,
        on_load: Callable[[], None] | None = None,
        on_video: Callable[[VideoInfo], None] | None = None,
        version: str | None = None,
        on_version: Callable[[str], None] | None = None,
    ) -> Iterator[Item]:
        """Yields an item for every `frame_stride`-th frame, the first included, at most `max_frames` of them.

        Args:
            start_after: frame_index of the last item an earlier run has yielded; frames up to it are decoded,
                not processed. `max_frames` counts from the start of the file all the same, so that both runs
                together give what one undisturbed run gives.
            on_progress: called by the thread that iterates, after every decoded frame, also those left out,
                with a fraction from 0 to 1 that never goes down; while the next frame is awaited, with the
                same fraction again whenever a later one was decoded or processed.
            on_load: called when the video is open, and each time a plugin is loaded.
            on_video: called when an open video is done with, also after an error, with what is known of it.
            version: the pipeline's version in the run that `start_after` comes from. If it is another now,
                `start_after` does not count and every frame is processed. None: it counts.
            on_version: called with the version of the pipeline when its plugins are loaded.

        Raises:
            PermanentError: at once for a bad argument, later for a bad video or a failing plugin; the text
                names the frame. OutOfMemoryError, one of them, when an allocation failed.
            TransientError: raised by a plugin, or a file of a plugin was changed while it was loaded.
            OSError: the file is missing or cannot be read.
        """
        _check_count("frame_stride", frame_stride)
        if max_frames is not None:
            _check_count("max_frames", max_frames)
        definition = find(self._definitions, pipeline_id)
        last_index = None if max_frames is None else (max_frames - 1) * frame_stride
        wanted = _Wanted(frame_stride, last_index, start_after, version)
        tell = _Callbacks(
            on_progress or _ignore, on_load or _nothing, on_video or _ignore, on_version or _ignore
        )
        return self._items(Path(mp4_path), definition, wanted, tell)

    def _items(
        self, mp4_path: Path, definition: PipelineDefinition, wanted: _Wanted, tell: _Callbacks
    ) -> Iterator[Item]:
        with open_video(mp4_path, self._bounds, self._decoder_threads) as video:
            tell.loaded()
            try:
                pipeline, version = self._pipeline(definition, tell.loaded)
                tell.version(version)
                yield from self._items_of(video, pipeline, wanted.under(version), tell)
            finally:
                tell.video(video.info)

    def _items_of(
        self, video: Video, pipeline: DagPipelineService, wanted: _Selection, tell: _Callbacks
    ) -> Iterator[Item]:
        progress = Progress(video.declared_frames, video.duration, wanted.last_index)
        pool = FramePool(
            video.frames(wanted.last_index),
            wanted.includes,
            lambda frame: _process(pipeline, frame),
            self._inference_threads + _PREPARING,
        )
        with pool:
            for turn in pool.turns(lambda: tell.progressed(progress.fraction)):
                if turn.wanted:
                    yield _item(turn)
                tell.progressed(progress.after(turn.index, turn.timestamp))

    def _pipeline(
        self, definition: PipelineDefinition, on_load: Callable[[], None]
    ) -> tuple[DagPipelineService, str]:
        """The pipeline with its plugins loaded, and its version."""
        if definition.id not in self._pipelines:
            plugins = {}
            for name in dict.fromkeys(node.plugin for node in definition.nodes):
                self._registry.get(name)
                plugins[name] = self._registry.version(name)
                on_load()
            version = pipeline_version(definition, plugins, self._code)
            self._pipelines[definition.id] = DagPipelineService(definition, self._registry), version
        return self._pipelines[definition.id]


@dataclass(frozen=True)
class _Callbacks:
    progressed: Callable[[float], None]
    loaded: Callable[[], None]
    video: Callable[[VideoInfo], None]
    version: Callable[[str], None]


@dataclass(frozen=True)
class _Wanted:
    """The frames asked for, before the version of the pipeline is known."""

    stride: int
    last_index: int | None
    start_after: int | None
    version: str | None

    def under(self, version: str) -> _Selection:
        """The frames to process; those of an earlier run are not left out if it had another version."""
        first = 0
        if self.start_after is not None and self.version in (None, version):
            first = self.start_after + 1
        return _Selection(self.stride, first, self.last_index)


class _Selection:
    """Which frames are processed: every `stride`-th, from `first` on, to `last_index` (None: all)."""

    def __init__(self, stride: int, first: int, last_index: int | None) -> None:
        self._stride = stride
        self._first = first
        self.last_index = last_index

    def includes(self, index: int) -> bool:
        return index >= self._first and index % self._stride == 0


def build_service(
    pipelines_dir: str | Path | None = None,
    inference_threads: int = 1,
    max_pixels: int | None = None,
    decoder_threads: int = 1,
    plugin_values: Mapping[str, str] | None = None,
    max_decoded_frames: int | None = None,
    max_streams: int | None = None,
    min_decoded_share: float = 0.5,
    accept_truncated: bool = False,
    check_limits: Mapping[str, int] | None = None,
) -> VideoFilePipelineService:
    """The service with the built-in pipelines and those of `pipelines_dir`, and all installed plugins.

    Raises:
        PipelineError: a pipeline file is wrong.
    """
    folders = [] if pipelines_dir is None else [Path(pipelines_dir)]
    registry = PluginRegistry(PluginOptions(inference_threads, plugin_values or {}))
    bounds = DecodeLimits(
        pixels=max_pixels,
        frames=max_decoded_frames,
        streams=max_streams,
        decoded_share=min_decoded_share,
        accept_truncated=accept_truncated,
        check=CheckLimits(**check_limits or {}),
    )
    return VideoFilePipelineService(
        load_definitions(*folders), registry, bounds, decoder_threads, inference_threads
    )


def _process(pipeline: DagPipelineService, frame: Frame) -> dict[str, Any]:
    image = frame.image()
    try:
        return pipeline.run_frame(image)
    except PipelineError as error:
        raise PipelineError(f"Frame {frame.index}: {error}") from error
    except OutOfMemoryError as error:
        raise OutOfMemoryError(f"Frame {frame.index}: {error}") from error


def _item(turn: FrameTask) -> Item:
    # Items are the caller's to change, so two of them share nothing.
    result = turn.result if turn.same_as is None else deepcopy(turn.same_as.result)
    return {"frame_index": turn.index, "result": {**result, TIMESTAMP: turn.timestamp}}


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise PermanentError(f"{name} is {value!r}: it takes a whole number of at least 1.")


def _ignore(told: object) -> None:
    pass


def _nothing() -> None:
    pass
