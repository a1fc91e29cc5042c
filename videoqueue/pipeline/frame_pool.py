"""Processes the frames of one video on several threads and returns the results in order.

    decoder thread -> tasks, in order ------------------> the caller's thread
                         \\-> waiting -> `threads` threads -/

Every decoded frame becomes a task, skipped frames included. Memory is bounded whatever the length of the
video: the number of frames that hold pixels is limited, and so is the number of tasks.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

from videoqueue.pipeline.decode.decoder import Frame
from videoqueue.pipeline.memory import check_room

Result = TypeVar("Result")

# Tasks without pixels are small. This many let the decoder run ahead of slow frames through skipped ones.
_MAX_TASKS = 256
# For a thread's stack and first objects: `Thread.start` hangs if the new thread cannot allocate these.
_THREAD_BYTES = 16 * 1024**2


class FrameTask(Generic[Result]):
    """A decoded frame in its place in the order.

    A frame with the same pixels as the selected frame before it is not processed again.

    Attributes:
        selected: Whether the frame is to be processed.
        same_as: The task whose result this frame shares; None if it has its own.
        frame: The frame until it is processed; None afterwards, and for a frame that is not processed.
        result: The result of processing; None if the frame was not processed.
    """

    __slots__ = ("error", "finished", "frame", "index", "result", "same_as", "selected", "timestamp")

    def __init__(self, frame: Frame, selected: bool, same_as: FrameTask[Result] | None) -> None:
        self.index = frame.index
        self.timestamp = frame.timestamp
        self.selected = selected
        self.same_as = same_as
        self.frame = frame if selected and same_as is None else None
        self.finished = not selected
        self.result: Result | None = None
        self.error: BaseException | None = None

    @property
    def ready(self) -> bool:
        """Returns True when the result is available."""
        return self.finished if self.same_as is None else self.same_as.finished


class FramePool(Generic[Result]):
    """The threads that process one video; a context manager that stops them at its end.

    Args:
        frames: The frames; the decoder thread iterates over them.
        is_selected: Returns whether the frame of an index is processed.
        process: Processes a frame. Several threads call it at once. Its result must depend on the pixels
            only.
        threads: The number of threads that process frames, at least 1.
    """

    def __init__(
        self,
        frames: Iterable[Frame],
        is_selected: Callable[[int], bool],
        process: Callable[[Frame], Result],
        threads: int,
    ) -> None:
        self._frames = frames
        self._is_selected = is_selected
        self._process = process
        self._max_with_pixels = 2 * threads + 1
        # Guards everything below, and is notified of every change.
        self._changed = threading.Condition()
        self._tasks: deque[FrameTask[Result]] = deque()
        self._waiting: deque[FrameTask[Result]] = deque()
        self._with_pixels = 0
        self._moved = False
        self._decoded_all = False
        self._decoder_error: BaseException | None = None
        self._stopped = False
        names = ["frame decoder"] + [f"frame processor {number + 1}" for number in range(threads)]
        targets = [self._decode] + [self._work] * threads
        # Daemon threads, so that a generator that is never closed cannot keep the process from ending.
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for target, name in zip(targets, names, strict=True)
        ]

    def __enter__(self) -> FramePool[Result]:
        try:
            for thread in self._threads:
                check_room(_THREAD_BYTES)
                thread.start()
        except BaseException:
            self._stop()
            for thread in self._threads:
                if thread.ident is not None:
                    thread.join()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stops the threads and waits until they have finished the frames in progress."""
        self._stop()
        for thread in self._threads:
            thread.join()

    def tasks(self, on_activity: Callable[[], None]) -> Iterator[FrameTask[Result]]:
        """Yields the tasks in order, each when its result is available.

        Args:
            on_activity: Called while the next task is awaited, whenever another frame was decoded or
                processed. A frame that hangs therefore stops these calls.

        Raises:
            BaseException: Whatever decoding or processing raised, in place of the task that failed.
        """
        while (task := self._next(on_activity)) is not None:
            yield task

    def _next(self, on_activity: Callable[[], None]) -> FrameTask[Result] | None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._moved or self._next_is_ready())
                self._moved = False
                if self._next_is_ready():
                    return self._take()
            on_activity()

    def _next_is_ready(self) -> bool:
        return self._tasks[0].ready if self._tasks else self._decoded_all

    def _take(self) -> FrameTask[Result] | None:
        if not self._tasks:
            if self._decoder_error is not None:
                raise self._decoder_error
            return None
        task = self._tasks.popleft()
        if task.error is not None:
            raise task.error
        if task.selected and task.same_as is None:
            self._with_pixels -= 1
        self._changed.notify_all()
        return task

    def _decode(self) -> None:
        error: BaseException | None = None
        try:
            base: FrameTask[Result] | None = None
            previous: Frame | None = None
            for frame in self._frames:
                selected = self._is_selected(frame.index)
                same_as = base if selected and previous is not None and frame.is_identical(previous) else None
                task = FrameTask(frame, selected, same_as)
                if not self._add(task):
                    return
                if selected:
                    base, previous = same_as or task, frame
        except BaseException as caught:  # noqa: BLE001 - raised again by the caller's thread
            error = caught
        finally:
            with self._changed:
                self._decoded_all, self._decoder_error = True, error
                self._changed.notify_all()

    def _add(self, task: FrameTask[Result]) -> bool:
        """Waits for room and adds the task; returns False if the pool was stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._has_room(task))
            if self._stopped:
                return False
            self._tasks.append(task)
            if task.frame is not None:
                self._waiting.append(task)
                self._with_pixels += 1
            self._moved = True
            self._changed.notify_all()
            return True

    def _has_room(self, task: FrameTask[Result]) -> bool:
        return len(self._tasks) < _MAX_TASKS and (
            task.frame is None or self._with_pixels < self._max_with_pixels
        )

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._waiting or self._decoded_all)
                if self._stopped or not self._waiting:
                    return
                task = self._waiting.popleft()
            self._finish(task)

    def _finish(self, task: FrameTask[Result]) -> None:
        assert task.frame is not None
        try:
            task.result = self._process(task.frame)
        except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
            task.error = error
            # The results of later frames would be discarded; all earlier frames are in progress or done.
            self._stop()
        with self._changed:
            task.frame = None
            task.finished = True
            self._moved = True
            self._changed.notify_all()

    def _stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._waiting.clear()
            self._changed.notify_all()
