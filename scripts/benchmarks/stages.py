"""Where the processor time of a frame goes, stage by stage.

The frames go through the pipeline one after the other in this thread, so that the time of the whole process
between two moments is that of the stage between them, in whichever thread a library computes. What FramePool
shares is shared here too: a frame equal to the one before is not processed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import cv2

DECODE, CONVERT, FIND_TEXT, READ_TEXT, FIND_OBJECTS, REST = STAGES = (
    "decode",
    "conversion and resize",
    "text detection",
    "text recognition",
    "object detection",
    "Python, rest",
)
Result = TypeVar("Result")


class StageClock:
    """Adds up seconds of processor time by stage; the time of an inner stage is not part of the outer one."""

    def __init__(self) -> None:
        self._stack = [REST]
        self.restart()

    def restart(self) -> None:
        """Forgets what was added up. No stage may be open."""
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._last = time.process_time()

    def stop(self) -> dict[str, float]:
        """Returns the seconds of every stage."""
        self._note()
        return self.seconds

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._note()
        self._stack.append(name)
        try:
            yield
        finally:
            self._note()
            self._stack.pop()

    def timed(self, function: Callable[..., Result], name: str) -> Callable[..., Result]:
        def run(*arguments: Any, **options: Any) -> Result:
            with self.stage(name):
                return function(*arguments, **options)

        return run

    def timed_resize(self, function: Callable[..., Result]) -> Callable[..., Result]:
        """Counts resizing of frames as CONVERT, that of single lines as part of their recognition."""

        def run(*arguments: Any, **options: Any) -> Result:
            with self.stage(READ_TEXT if self._stack[-1] == READ_TEXT else CONVERT):
                return function(*arguments, **options)

        return run

    def _note(self) -> None:
        now = time.process_time()
        self.seconds[self._stack[-1]] += now - self._last
        self._last = now


def measure(file: Path, warm: Path, pipeline_id: str) -> dict[str, Any]:
    """Returns the number of frames, and the seconds of processor time of each stage."""
    from videoqueue.pipeline.dag import DagPipelineService
    from videoqueue.pipeline.definitions.definition import load_definitions
    from videoqueue.pipeline.plugin import PluginOptions
    from videoqueue.pipeline.registry import PluginRegistry

    pipeline = DagPipelineService(load_definitions()[pipeline_id], PluginRegistry(PluginOptions()))
    clock = StageClock()
    with _measured_by(clock):
        _run(pipeline, warm, clock)
        clock.restart()
        frames = _run(pipeline, file, clock)
        return {"frames": frames, "seconds": clock.stop()}


def _run(pipeline: Any, file: Path, clock: StageClock) -> int:
    from videoqueue.pipeline.decode.decoder import Frame, open_video

    count, previous = 0, None
    with ExitStack() as opened:
        # FFmpeg decodes the first frames when it opens a file.
        with clock.stage(DECODE):
            video = opened.enter_context(open_video(file))
        frames = video.frames()
        while True:
            with clock.stage(DECODE):
                frame: Frame | None = next(frames, None)
            if frame is None:
                return count
            if previous is None or not frame.is_identical(previous):
                pipeline.run_frame(frame.image())
            count, previous = count + 1, frame


@contextmanager
def _measured_by(clock: StageClock) -> Iterator[None]:
    from videoqueue.pipeline.decode.frame import Frame
    from videoqueue.pipeline.plugins.ocr import engine
    from videoqueue.pipeline.plugins.ocr.recognizer import TextRecognizer

    measured: list[tuple[Any, str, str]] = [
        (Frame, "image", CONVERT),
        (engine.TextEngine, "_find", FIND_TEXT),
        (engine, "get_rotate_crop_image", READ_TEXT),
        (TextRecognizer, "read", READ_TEXT),
    ]
    with suppress(ImportError):  # a build that only reads text
        from videoqueue.pipeline.plugins.yolo.detector import ObjectDetector

        measured.append((ObjectDetector, "detect", FIND_OBJECTS))
    with ExitStack() as patches:
        for owner, name, stage in measured:
            patches.enter_context(patch.object(owner, name, clock.timed(getattr(owner, name), stage)))
        resize: Any = cv2.resize
        patches.enter_context(patch.object(cv2, "resize", clock.timed_resize(resize)))
        yield
