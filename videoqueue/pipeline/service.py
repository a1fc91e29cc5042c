"""Runs a video file through a pipeline, frame by frame.

Example:
    >>> service = build_service()
    >>> service.run_on_file("clip.mp4", "ocr_only", max_frames=1)[0]["result"]["text"]
    'BREAKING NEWS'
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from videoqueue.errors import OutOfMemoryError, PipelineError
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
from videoqueue.pipeline.results import FrameItem, FrameResult
from videoqueue.pipeline.selection import FrameRequest, FrameSelection
from videoqueue.pipeline.version.pipelines import code_of_process, pipeline_version
from videoqueue.pipeline_options import PipelineOptions

# Frames in preparation beyond those that compute, so that no core waits for the next frame.
_PREPARED_FRAMES = 1


class VideoFilePipelineService:
    """Turns a video file into one item for each processed frame.

    The plugins of a pipeline are loaded when it runs for the first time, and stay loaded.

    Args:
        definitions: The pipelines by id.
        registry: The plugins.
        limits: How large a video may be; without limits by default.
        decoder_threads: The number of threads that convert the pixels of a frame, at least 1.
        inference_threads: How many frames run through the models at once, at least 1. The items and their
            order do not depend on it.

    Example:
        >>> service = VideoFilePipelineService(load_definitions(), PluginRegistry(PluginOptions()))
        >>> [item["frame_index"] for item in service.iter_file("clip.mp4", "yolo_only", 10, 3)]
        [0, 10, 20]
    """

    def __init__(
        self,
        definitions: Mapping[str, PipelineDefinition],
        registry: PluginRegistry,
        limits: DecodeLimits | None = None,
        decoder_threads: int = 1,
        inference_threads: int = 1,
    ) -> None:
        """Keeps the arguments and hashes the source; no plugin is loaded yet."""
        self._definitions = definitions
        self._registry = registry
        self._limits = limits or DecodeLimits()
        self._decoder_threads = decoder_threads
        self._inference_threads = inference_threads
        self._pipelines: dict[str, tuple[DagPipelineService, str]] = {}
        # Read now: a loaded module stays as it is when its file changes later.
        self._code = {**code_of_process(), "ffmpeg": LIBRARY_VERSIONS}

    def run_on_file(
        self, mp4_path: str | Path, pipeline_id: str, frame_stride: int = 1, max_frames: int | None = None
    ) -> list[FrameItem]:
        """Processes a file as `iter_file` does.

        Returns:
            All items in the order of the frames.

        Raises:
            Exception: As in `iter_file`.
        """
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
    ) -> Iterator[FrameItem]:
        """Processes a file and yields each item as soon as it is available.

        Args:
            mp4_path: The video file.
            pipeline_id: The pipeline.
            frame_stride: Every `frame_stride`-th frame is processed, the first included.
            max_frames: The most frames to process, counted from the start of the file; None means all.
            start_after: The frame_index of the last item of an earlier run. Frames up to it are decoded but
                not processed. Both runs together yield the items of one uninterrupted run.
            on_progress: Called by the iterating thread with the progress, a fraction from 0 to 1 that never
                decreases: after each decoded frame, and whenever another frame was decoded or processed while
                it waits for an item.
            on_load: Called when the video is open, and after each plugin is loaded.
            on_video: Called when the video is closed, also after an error, with what is known about it.
            version: The version of the pipeline in the earlier run. If it has changed, `start_after` is
                ignored and every frame is processed. None means that it does not matter.
            on_version: Called with the version of the pipeline once its plugins are loaded.

        Returns:
            An iterator over the items in the order of the frames. Arguments are checked at once.

        Raises:
            PermanentError: An argument is wrong, the video cannot be read, or a plugin failed; the text names
                the frame. It is an OutOfMemoryError if an allocation failed.
            TransientError: A plugin raised it, or a file of a plugin was changed while it was loaded.
            OSError: The file is missing or cannot be read.

        Example:
            >>> for item in service.iter_file("clip.mp4", "yolo_ocr", frame_stride=5, start_after=40):
            ...     print(item["frame_index"], item["result"]["timestamp"])
            45 1.5
            50 1.6666666666666667
        """
        request = FrameRequest(frame_stride, max_frames, start_after, version)
        definition = find(self._definitions, pipeline_id)
        callbacks = _Callbacks(
            on_progress or _ignore, on_load or _nothing, on_video or _ignore, on_version or _ignore
        )
        return self._items(Path(mp4_path), definition, request, callbacks)

    def _items(
        self, mp4_path: Path, definition: PipelineDefinition, request: FrameRequest, callbacks: _Callbacks
    ) -> Iterator[FrameItem]:
        with open_video(mp4_path, self._limits, self._decoder_threads) as video:
            callbacks.on_load()
            try:
                pipeline, version = self._pipeline(definition, callbacks.on_load)
                callbacks.on_version(version)
                yield from self._items_of(video, pipeline, request.for_version(version), callbacks)
            finally:
                callbacks.on_video(video.info)

    def _items_of(
        self, video: Video, pipeline: DagPipelineService, selection: FrameSelection, callbacks: _Callbacks
    ) -> Iterator[FrameItem]:
        progress = Progress(video.declared_frames, video.duration, selection.last)
        pool = FramePool(
            video.frames(selection.last),
            selection.includes,
            lambda frame: _process(pipeline, frame),
            self._inference_threads + _PREPARED_FRAMES,
        )
        with pool:
            for task in pool.tasks(lambda: callbacks.on_progress(progress.fraction)):
                if task.selected:
                    yield _item(task)
                callbacks.on_progress(progress.after(task.index, task.timestamp))

    def _pipeline(
        self, definition: PipelineDefinition, on_load: Callable[[], None]
    ) -> tuple[DagPipelineService, str]:
        """Returns the pipeline with its plugins loaded, and its version."""
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
    on_progress: Callable[[float], None]
    on_load: Callable[[], None]
    on_video: Callable[[VideoInfo], None]
    on_version: Callable[[str], None]


def build_service(options: PipelineOptions | None = None) -> VideoFilePipelineService:
    """Creates a service with the built-in pipelines, those of a folder, and all installed plugins.

    Args:
        options: The options; the defaults have no limits.

    Returns:
        The service. No plugin is loaded yet.

    Raises:
        PipelineError: A pipeline file has a fault.

    Example:
        >>> service = build_service(PipelineOptions(inference_threads=4, max_frames=1000))
    """
    options = options or PipelineOptions()
    folders = [] if options.pipelines_dir is None else [Path(options.pipelines_dir)]
    plugin_options = PluginOptions(options.inference_threads, options.plugin_values, options.setting_names)
    limits = DecodeLimits(
        pixels=options.max_pixels,
        frames=options.max_frames,
        streams=options.max_streams,
        decoded_share=options.min_decoded_share,
        accept_truncated=options.accept_truncated,
        check=CheckLimits(**options.check_limits, setting_names=options.setting_names),
    )
    return VideoFilePipelineService(
        load_definitions(*folders),
        PluginRegistry(plugin_options),
        limits,
        options.decoder_threads,
        options.inference_threads,
    )


def _process(pipeline: DagPipelineService, frame: Frame) -> dict[str, object]:
    image = frame.image()
    try:
        return pipeline.run_frame(image)
    except PipelineError as error:
        raise PipelineError(f"Frame {frame.index}: {error}") from error
    except OutOfMemoryError as error:
        raise OutOfMemoryError(f"Frame {frame.index}: {error}") from error


def _item(task: FrameTask[dict[str, object]]) -> FrameItem:
    # Callers may change an item, so two items share no object.
    outputs = task.result if task.same_as is None else deepcopy(task.same_as.result)
    assert outputs is not None
    result = {**outputs, TIMESTAMP: task.timestamp}
    return {"frame_index": task.index, "result": cast(FrameResult, result)}


def _ignore(value: object) -> None:
    pass


def _nothing() -> None:
    pass
