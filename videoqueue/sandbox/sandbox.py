"""Runs tasks in a child process that may be killed: the child touches the hostile bytes, the worker never.

A child serves one task after the other, so that models stay warm. One that crashed, hung, was interrupted or
ran out of memory is killed and the next task gets a new one; so is one that has served its number of tasks or
has grown.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace

from videoqueue.errors import MAX_MESSAGE_CHARACTERS, NoFrameError, OutOfMemoryError, SandboxCrashedError
from videoqueue.failpoints import failpoint
from videoqueue.pipeline_options import PipelineOptions
from videoqueue.sandbox.limits import SandboxLimits
from videoqueue.sandbox.process import ChildProcess, Stopped
from videoqueue.sandbox.protocol import (
    OUTCOMES,
    Begun,
    Ended,
    Report,
    Seen,
    Task,
    error_of,
    report_of,
    unpack,
    video_of,
)
from videoqueue.sandbox.untrusted import clean_text

__all__ = ["Sandbox", "Stopped"]

logger = logging.getLogger(__name__)

#: Outcomes after which a child is as good as before.
_BEHAVED = ("done", "bad_video", "failed")


class Sandbox:
    """At most one child, owned by one thread."""

    def __init__(self, pipeline_options: PipelineOptions, limits: SandboxLimits | None = None) -> None:
        self._options = pipeline_options
        self._limits = limits or SandboxLimits()
        self._child: ChildProcess | None = None

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
        rest = _Rest(task)
        for fresh in (self._child is None, True):
            try:
                yield from self._attempt(rest, should_stop)
            except _OutOfTurn:
                logger.info("Task begun once more in a fresh process: the used one spoke out of turn.")
            except (NoFrameError, OutOfMemoryError) as error:
                if fresh:
                    raise self._final(error) from error
                logger.info("Task tried once more in a fresh process.", extra={"reason": error})
            else:
                return

    def close(self) -> None:
        """Kills the child and everything it started."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()

    def _attempt(self, rest: _Rest, should_stop: Callable[[], bool]) -> Generator[Report]:
        if self._child is not None and not (self._child.is_alive and self._child.is_silent):
            self.close()  # it died or spoke between two tasks, which is not the next one's fault
        child = self._child = self._child or ChildProcess(self._options, self._limits)
        failpoint("worker.child_started")
        kept = False
        try:
            child.begin(rest.task)
            rest.has_begun = False
            while True:
                data = child.receive(should_stop)
                message = unpack(data)
                kind = message["type"]
                if kind in OUTCOMES and (rest.has_begun or kind != "done"):
                    break
                yield self._report(child, message, len(data), rest)
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

    def _report(self, child: ChildProcess, message: Mapping[str, object], size: int, rest: _Rest) -> Report:
        try:
            report = report_of(message, size, rest.task.start_after, rest.has_begun)
        except SandboxCrashedError:
            # What is still on its way from an earlier task is not the fault of this one.
            if child.jobs and not rest.has_begun:
                raise _OutOfTurn from None
            raise
        rest.take(report)
        return report

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
        return OutOfMemoryError(clean_text(str(error), MAX_MESSAGE_CHARACTERS - len(hint)) + hint)


class _OutOfTurn(Exception):  # noqa: N818 - no error of the task
    """A used child sent something else before it began."""


class _Rest:
    """What is still to do of a task, should another child have to go on."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.has_begun = False

    def take(self, report: Report) -> None:
        match report:
            case Begun(version):
                self.has_begun = True
                # Frames seen under another version do not count; the child begins anew by itself.
                counts = self.task.version in (None, version)
                start_after = self.task.start_after if counts else None
                self.task = replace(self.task, version=version, start_after=start_after)
            case Seen(item):
                self.task = replace(self.task, start_after=item["frame_index"])
