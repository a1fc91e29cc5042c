"""Runs tasks in a child process. Only the child reads the untrusted video, and it may be killed at any time.

A child serves several tasks of one owner in turn, so that models stay loaded. After a crash, a hang, an
interruption or a lack of memory it is killed, and the next task gets a new one; also after its maximum number
of tasks, if it has grown, for a task of another owner, and for a pipeline with other access to the network.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from videoqueue.errors import (
    MAX_MESSAGE_CHARACTERS,
    NoFrameError,
    OutOfMemoryError,
    PermanentError,
    ResultsTooLargeError,
    SandboxCrashedError,
    ScratchFullError,
    StalledError,
)
from videoqueue.failpoints import failpoint
from videoqueue.pipeline_options import PipelineOptions
from videoqueue.sandbox.access import Access
from videoqueue.sandbox.limits import SandboxLimits
from videoqueue.sandbox.process import ChildProcess, Stopped
from videoqueue.sandbox.protocol import (
    OUTCOMES,
    Ended,
    Report,
    Task,
    error_of,
    report_of,
    unpack,
    video_of,
)
from videoqueue.sandbox.rest import Rest
from videoqueue.sandbox.room import Room
from videoqueue.sandbox.untrusted import clean_text

__all__ = ["Sandbox", "Stopped"]

logger = logging.getLogger(__name__)

#: Outcomes after which a child can be reused.
_BEHAVED = ("done", "bad_video", "failed")
#: Seconds in which a reused child must acknowledge a task. It does so before it loads a model.
_ACKNOWLEDGE_SECONDS = 5


class Sandbox:
    """At most one child process. Not thread-safe: each worker thread has its own sandbox.

    Args:
        pipeline_options: for the pipelines of its children.
        limits: the limits of each child.
        access: what each child may reach; by default what the system can enforce.
        folder: returns an existing folder for the children's files, in the file system of the videos; by
            default that of `tempfile`. It may raise OSError.
    """

    def __init__(
        self,
        pipeline_options: PipelineOptions,
        limits: SandboxLimits,
        access: Access | None = None,
        folder: Callable[[], Path] | None = None,
    ) -> None:
        self._options = pipeline_options
        self._limits = limits
        self._access = access or Access()
        self._folder = folder or _temporary_folder
        self._child: ChildProcess | None = None
        self._serves = _Scope()

    def run(self, task: Task, should_stop: Callable[[], bool], owner: str = "") -> Generator[Report]:
        """Runs the task in a child and yields its reports in order.

        A child that ends the task, with or without an error, reports `Ended` last. If a reused child returns
        no frames, or runs out of memory or of space for files, the rest is retried once in a new child:
        FFmpeg reports a failed allocation as an empty video, and an earlier task may have left files. If a
        reused child does not acknowledge the task, or crashes or hangs before it reports the version, an
        earlier task may be the cause: this one starts again in a new child.

        Args:
            task: the video and what to do with it.
            should_stop: asked several times a second. Its exceptions are passed on.
            owner: whose task it is; a child never serves two owners.

        Raises:
            OSError: the folders of a new child cannot be made.
            PermanentError, TransientError: the child reported an error of the video, pipeline or plugin.
            SandboxCrashedError: the child crashed or hung; the message has the signal, code or setting.
            Stopped: `should_stop` returned True.
        """
        rest = Rest(task)
        scope = _Scope(owner, task.pipeline_id in self._access.network_pipelines)
        if scope != self._serves:
            self.close()
            self._serves = scope
        for fresh in (self._child is None, True):
            try:
                yield from self._attempt(rest, should_stop)
            except _OutOfTurn as error:
                logger.info("Task started again in a new process.", extra={"reason": error})
            except (NoFrameError, OutOfMemoryError, ScratchFullError) as error:
                if fresh:
                    raise self._final(error) from error
                logger.info("Task retried in a new process.", extra={"reason": error})
            else:
                return

    def close(self) -> None:
        """Kills the child and everything it started."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()

    def _attempt(self, rest: Rest, should_stop: Callable[[], bool]) -> Generator[Report]:
        child, path = self._child_for(rest.task)
        failpoint("worker.child_started")
        kept = False
        try:
            rest.restart()
            with _without_blame(child, rest):
                child.begin(replace(rest.task, path=path))
                while True:
                    message = self._receive(child, rest, should_stop)
                    kind = message["type"]
                    if kind in OUTCOMES and (rest.has_begun or kind != "done"):
                        break
                    yield self._report(message, rest)
            child.jobs += 1
            is_clean = _is_clean_after_task(child)
            error = error_of(message)
            kept = (
                is_clean and not isinstance(error, SandboxCrashedError) and self._can_be_reused(child, kind)
            )
        finally:
            # After anything else, also if the caller stops reading, the state of the child is unknown.
            if not kept:
                self.close()
        yield Ended(video_of(message))
        if error is not None:
            raise error

    def _receive(
        self, child: ChildProcess, rest: Rest, should_stop: Callable[[], bool]
    ) -> Mapping[str, object]:
        awaits = bool(child.jobs) and not rest.is_acknowledged
        try:
            data = child.receive(should_stop, _ACKNOWLEDGE_SECONDS if awaits else None)
        except StalledError as error:
            if awaits:
                raise _OutOfTurn("The reused process does not acknowledge the task.") from error
            raise
        message = unpack(data)
        if awaits and message["type"] != "alive":
            raise _OutOfTurn("The reused process sent a message of an earlier task.")
        return message

    def _child_for(self, task: Task) -> tuple[ChildProcess, str]:
        """Returns the child, a new one if need be, and the path at which it can read the video."""
        child = self._child
        # It may have ended or sent something between two tasks; the next task is not at fault.
        if child is not None and child.is_alive and child.is_silent:
            with suppress(OSError):
                return child, child.admit(task.path)
        self.close()
        room = Room(self._folder(), task.path)
        cell = self._access.cell(self._options, str(room.scratch), room.inputs, self._serves.network)
        child = ChildProcess(self._options, self._limits, cell, room)
        self._child = child
        return child, child.admit(task.path)

    def _report(self, message: Mapping[str, object], rest: Rest) -> Report:
        report = report_of(message, rest.task.start_after, rest.has_begun)
        rest.take(report)
        return report

    def _can_be_reused(self, child: ChildProcess, outcome: str) -> bool:
        if outcome not in _BEHAVED and not (outcome == "no_frame" and child.jobs == 1):
            return False
        return child.jobs < self._limits.jobs and child.resident_bytes <= self._limits.grown_bytes

    def _final(self, error: PermanentError) -> Exception:
        if not isinstance(error, OutOfMemoryError):
            return error
        hint = (
            f" A job may have {self._limits.memory_bytes} bytes (VIDEOQUEUE_SANDBOX_MEMORY_BYTES). "
            "Submit a smaller video, or raise the limit."
        )
        return OutOfMemoryError(clean_text(str(error), MAX_MESSAGE_CHARACTERS - len(hint)) + hint)


@dataclass(frozen=True)
class _Scope:
    """What all tasks of one child have in common."""

    owner: str = ""
    network: bool = False


def _is_clean_after_task(child: ChildProcess) -> bool:
    try:
        child.end()
    except OSError as error:
        logger.info("Child ended: its files cannot be removed while it runs.", extra={"reason": error})
        return False
    return True


def _temporary_folder() -> Path:
    return Path(tempfile.gettempdir())


class _OutOfTurn(Exception):  # noqa: N818 - not an error of the task
    """A reused child did not begin the task. What it did during an earlier one may be the cause."""


@contextmanager
def _without_blame(child: ChildProcess, rest: Rest) -> Iterator[None]:
    """Raises `_OutOfTurn` for a fault of a reused child that has not begun the task."""
    try:
        yield
    except (SandboxCrashedError, ResultsTooLargeError) as error:
        if child.jobs and not rest.has_begun:
            raise _OutOfTurn(str(error)) from error
        raise
