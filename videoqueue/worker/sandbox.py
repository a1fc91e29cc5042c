"""Runs tasks in a child process that may be killed: the child touches the hostile bytes, the worker never.

A child serves one task after the other, so that models stay warm. One that crashed, hung, was interrupted or
ran out of memory is killed and the next task gets a new one; so is one that has served its number of tasks or
has grown.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from typing import Any

from videoqueue.errors import NoFrameError, OutOfMemoryError, SandboxCrashedError
from videoqueue.failpoints import failpoint
from videoqueue.worker.child_process import ChildProcess, Stopped
from videoqueue.worker.limits import SandboxLimits
from videoqueue.worker.protocol import (
    OUTCOMES,
    Ended,
    Report,
    Seen,
    Task,
    error_of,
    report_of,
    unpack,
    video_of,
)
from videoqueue.worker.untrusted import MOST_CHARACTERS, clean_text

__all__ = ["Sandbox", "Stopped"]

logger = logging.getLogger(__name__)

#: Outcomes after which a child is as good as before.
_BEHAVED = ("done", "bad_video", "failed")


class Sandbox:
    """At most one child, owned by one thread."""

    def __init__(self, pipeline_options: Mapping[str, Any], limits: SandboxLimits | None = None) -> None:
        self._options = pipeline_options
        self._limits = limits or SandboxLimits()
        self._child: ChildProcess | None = None
        self._reached: int | None = None

    def run(self, task: Task, should_stop: Callable[[], bool]) -> Generator[Report]:
        """Has a child run the task and yields what it reports, in order.

        A child that ends the task, well or with an error, reports `Ended` last.

        No frame at all, or a failed allocation, proves nothing in a child that was used before, because the
        demuxer hides its own failed allocations: the rest is tried once more in a fresh one.

        Raises:
            PermanentError, TransientError: as the child says: the video, pipeline or plugin is at fault.
            SandboxCrashedError: the child died or hung; the message names the signal, exit code or setting.
            Stopped: `should_stop` became true. What it raises itself is handed on.
        """
        self._reached = task.start_after
        for fresh in (self._child is None, True):
            try:
                yield from self._attempt(replace(task, start_after=self._reached), should_stop)
            except (NoFrameError, OutOfMemoryError) as error:
                if fresh:
                    raise self._final(error) from error
                logger.info("Task tried once more in a fresh process. reason=%s", error)
            else:
                return

    def close(self) -> None:
        """Kills the child and everything it started."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()

    def _attempt(self, task: Task, should_stop: Callable[[], bool]) -> Generator[Report]:
        if self._child is not None and not (self._child.is_alive and self._child.is_silent):
            self.close()  # it died or spoke between two tasks, which is not the next one's fault
        child = self._child = self._child or ChildProcess(self._options, self._limits)
        failpoint("worker.child_started")
        kept = False
        try:
            child.begin(task)
            while True:
                data = child.receive(should_stop)
                message = unpack(data)
                kind = message["type"]
                if kind in OUTCOMES:
                    break
                report = report_of(message, len(data), self._reached)
                if isinstance(report, Seen):
                    self._reached = report.item["frame_index"]
                yield report
            child.jobs += 1
            child.end()
            error = error_of(message)
            kept = not isinstance(error, SandboxCrashedError) and self._is_as_good_as_new(child, kind)
        finally:
            # Whatever else ends the loop leaves a child of unknown state, also when the caller stops reading.
            if not kept:
                self.close()
        yield Ended(video_of(message))
        if error is not None:
            raise error

    def _is_as_good_as_new(self, child: ChildProcess, outcome: str) -> bool:
        if outcome not in _BEHAVED and not (outcome == "no_frame" and child.jobs == 1):
            return False
        return child.jobs < self._limits.jobs and child.resident_bytes <= self._limits.grown_bytes

    def _final(self, error: NoFrameError | OutOfMemoryError) -> Exception:
        if isinstance(error, NoFrameError):
            return error
        hint = (
            f" A job may have {self._limits.memory_bytes} bytes (VIDEOQUEUE_SANDBOX_MEMORY_BYTES). "
            "Submit a smaller video, or raise the limit."
        )
        return OutOfMemoryError(clean_text(str(error), MOST_CHARACTERS - len(hint)) + hint)
