"""Processes the frames of one video on several threads, and hands them back in their order.

    decoder thread -> turns, in order ------------------> the caller's thread
                         \\-> waiting -> `threads` threads -/

Every decoded frame takes a turn, also one that is left out. Memory is bounded whatever the length: only so
many frames hold pixels, and only so many turns wait to be taken.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any

from videoqueue.pipeline.decode.decoder import Frame
from videoqueue.pipeline.memory import check_room

# Turns that hold no pixels are small; so many let the decoder run ahead of slow frames over those left out.
_MOST_TURNS = 256
# For a thread's stack and first objects. `Thread.start` waits for ever for one that cannot allocate these.
_ROOM_BYTES = 16 * 1024**2


class FrameTask:
    """A decoded frame's place in the order.

    `result` is what processing gave, None for a frame left out. A frame with the very pixels of the one
    before is not processed again: `same_as` is the turn whose result it shares.
    """

    __slots__ = ("error", "finished", "frame", "index", "result", "same_as", "timestamp", "wanted")

    def __init__(self, frame: Frame, wanted: bool, same_as: FrameTask | None) -> None:
        self.index = frame.index
        self.timestamp = frame.timestamp
        self.wanted = wanted
        self.same_as = same_as
        self.frame = frame if wanted and same_as is None else None
        self.finished = not wanted
        self.result: Any = None
        self.error: BaseException | None = None

    @property
    def ready(self) -> bool:
        return self.finished if self.same_as is None else self.same_as.finished


class FramePool:
    """The threads of one video; a context manager, because they end with it.

    Args:
        frames: read by the decoder thread.
        wanted: whether the frame of that index is processed.
        process: called by several threads at once; what it gives must depend on the pixels alone.
        threads: that process frames, at least 1.
    """

    def __init__(
        self,
        frames: Iterable[Frame],
        wanted: Callable[[int], bool],
        process: Callable[[Frame], Any],
        threads: int,
    ) -> None:
        self._frames = frames
        self._wanted = wanted
        self._process = process
        self._most_pixels = 2 * threads + 1
        # Guards everything below, and is notified whenever some of it changed.
        self._changed = threading.Condition()
        self._turns: deque[FrameTask] = deque()
        self._waiting: deque[FrameTask] = deque()
        self._with_pixels = 0
        self._moved = False
        self._decoded_all = False
        self._decoder_error: BaseException | None = None
        self._stopped = False
        names = ["frame decoder"] + [f"frame processor {number + 1}" for number in range(threads)]
        targets = [self._decode] + [self._work] * threads
        # Daemons, so that a generator nobody closed cannot keep the process from ending.
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for target, name in zip(targets, names, strict=True)
        ]

    def __enter__(self) -> FramePool:
        try:
            for thread in self._threads:
                check_room(_ROOM_BYTES)
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
        """Ends the threads; waits for the frames that are being processed."""
        self._stop()
        for thread in self._threads:
            thread.join()

    def turns(self, alive: Callable[[], None]) -> Iterator[FrameTask]:
        """Yields the turns in order, each when its result is there.

        `alive` is called while the next is awaited, whenever a frame was decoded or finished since. A frame
        that hangs brings everything to a stop, and `alive` with it.

        Raises:
            Whatever decoding or processing raised, when the frame that failed has its turn.
        """
        while (turn := self._next(alive)) is not None:
            yield turn

    def _next(self, alive: Callable[[], None]) -> FrameTask | None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._moved or self._next_is_ready())
                self._moved = False
                if self._next_is_ready():
                    return self._take()
            alive()

    def _next_is_ready(self) -> bool:
        return self._turns[0].ready if self._turns else self._decoded_all

    def _take(self) -> FrameTask | None:
        if not self._turns:
            if self._decoder_error is not None:
                raise self._decoder_error
            return None
        turn = self._turns.popleft()
        if turn.error is not None:
            raise turn.error
        if turn.wanted and turn.same_as is None:
            self._with_pixels -= 1
        self._changed.notify_all()
        return turn

    def _decode(self) -> None:
        error: BaseException | None = None
        try:
            base: FrameTask | None = None
            previous: Frame | None = None
            for frame in self._frames:
                wanted = self._wanted(frame.index)
                same_as = base if wanted and previous is not None and frame.is_identical(previous) else None
                turn = FrameTask(frame, wanted, same_as)
                if not self._add(turn):
                    return
                if wanted:
                    base, previous = same_as or turn, frame
        except BaseException as caught:  # noqa: BLE001 - raised again by the caller's thread
            error = caught
        finally:
            with self._changed:
                self._decoded_all, self._decoder_error = True, error
                self._changed.notify_all()

    def _add(self, turn: FrameTask) -> bool:
        """Gives the turn its place as soon as there is room; False when the pool was stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._has_room(turn))
            if self._stopped:
                return False
            self._turns.append(turn)
            if turn.frame is not None:
                self._waiting.append(turn)
                self._with_pixels += 1
            self._moved = True
            self._changed.notify_all()
            return True

    def _has_room(self, turn: FrameTask) -> bool:
        return len(self._turns) < _MOST_TURNS and (
            turn.frame is None or self._with_pixels < self._most_pixels
        )

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._waiting or self._decoded_all)
                if self._stopped or not self._waiting:
                    return
                turn = self._waiting.popleft()
            self._finish(turn)

    def _finish(self, turn: FrameTask) -> None:
        assert turn.frame is not None
        try:
            turn.result = self._process(turn.frame)
        except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
            turn.error = error
            # Frames behind it would be thrown away; those before it have all been begun.
            self._stop()
        with self._changed:
            turn.frame = None
            turn.finished = True
            self._moved = True
            self._changed.notify_all()

    def _stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._waiting.clear()
            self._changed.notify_all()
