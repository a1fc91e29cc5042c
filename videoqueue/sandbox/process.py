"""One child process, seen from the worker: its tasks, its messages and its end."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from videoqueue.errors import ResultsTooLargeError, SandboxCrashedError
from videoqueue.pipeline_options import PipelineOptions
from videoqueue.sandbox import ending
from videoqueue.sandbox.access import Cell
from videoqueue.sandbox.child_output import ChildOutput
from videoqueue.sandbox.limits import SandboxLimits, data_bytes, resident_bytes
from videoqueue.sandbox.protocol import LENGTH, MAX_MESSAGE_BYTES, Task, pack
from videoqueue.sandbox.room import Room
from videoqueue.sandbox.start import start_child
from videoqueue.sandbox.watch import Watch

#: Seconds for a child to end after it has closed its pipe.
_DEATH_SECONDS = 2
#: Interval at which a waiting worker checks whether it should stop, seconds.
_LOOK_SECONDS = 0.2
#: Bytes of one read from the pipe, which holds no more.
_PIECE_BYTES = 64 * 1024


class Stopped(Exception):  # noqa: N818 - not an error: the worker asked for it
    """`should_stop` became true; the child is gone."""


class ChildProcess:
    """A child that leads its own session and ends with the thread that made it.

    Args:
        pipeline_options: for its pipelines.
        limits: its limits.
        cell: what it may reach.
        room: its folders, which are removed with it.

    Attributes:
        jobs: tasks that it has completed; the sandbox counts them.
    """

    def __init__(
        self,
        pipeline_options: PipelineOptions,
        limits: SandboxLimits,
        cell: Cell,
        room: Room,
    ) -> None:
        self._limits = limits
        self._room = room
        self._stall_seconds = limits.stall_seconds
        self._most_data = 0
        self._next_look = 0.0
        self.jobs = 0
        try:
            started = start_child(pipeline_options, limits, cell, room.scratch)
        except BaseException:
            room.remove()
            raise
        self._process = started.process
        self._requests, self._replies = started.requests, started.replies
        self._output = ChildOutput(started.output, self._process.pid, limits.log_lines)
        self._watch = Watch(room.scratch, self._process.pid, limits, self._process.kill)

    @property
    def is_alive(self) -> bool:
        """Returns True when the process has not ended."""
        return self._process.poll() is None

    @property
    def resident_bytes(self) -> int:
        """Returns the resident memory of the process in bytes; 0 if the system does not report it."""
        return resident_bytes(self._process.pid)

    @property
    def is_silent(self) -> bool:
        """Returns True when no message waits in the pipe. Between two tasks a child must send none."""
        return not _readable([self._replies], 0)

    def admit(self, video: str) -> str:
        """Makes the video of the next task readable, and returns its path for the child.

        Raises:
            OSError: only a new child can read it.
        """
        return self._room.admit(video)

    def begin(self, task: Task) -> None:
        """Sends a task. SandboxCrashedError: the pipe to the child is full."""
        self._output.begin(task.log_fields())
        message = pack(task.message())
        with suppress(BrokenPipeError):  # `receive` reports a dead child
            if self._requests.write(message) != len(message):
                raise SandboxCrashedError("The process that reads the video does not accept its task.")

    def end(self) -> None:
        """Logs what the child has printed during its task, and removes the task's files.

        Raises:
            OSError: a file cannot be removed as long as the child lives, or there are too many.
        """
        self._output.end_job()
        self._room.clear()

    def receive(self, should_stop: Callable[[], bool], within: float | None = None) -> bytes:
        """Waits for the child's next message.

        Args:
            should_stop: asked several times a second; it may raise.
            within: a deadline in seconds that is shorter than `stall_seconds`; None for no other.

        Returns:
            The message, without its length.

        Raises:
            Stopped: `should_stop` returned True.
            ResultsTooLargeError: the message is too long.
            OutOfMemoryError, ScratchFullError, SandboxCrashedError: the child ended.
            StalledError: it sent no whole message for `stall_seconds`.
            SandboxCrashedError: it sent none within `within` seconds.
        """
        seconds = self._stall_seconds if within is None else min(within, self._stall_seconds)
        deadline = time.monotonic() + seconds
        self._note_memory()
        if should_stop():
            raise Stopped
        (length,) = LENGTH.unpack(self._read(LENGTH.size, should_stop, deadline))
        if length > MAX_MESSAGE_BYTES:
            raise ResultsTooLargeError(
                f"The result of a frame is larger than {MAX_MESSAGE_BYTES} bytes. Use another pipeline."
            )
        return self._read(length, should_stop, deadline)

    def kill(self) -> None:
        """Kills the child and everything it started, and removes its folders."""
        self._watch.close()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._output.close()
        for stream in (self._requests, self._replies):
            with suppress(OSError):
                stream.close()
        self._room.remove()

    def _read(self, count: int, should_stop: Callable[[], bool], deadline: float) -> bytes:
        data = bytearray()
        while len(data) < count:
            self._await_reply(should_stop, deadline)
            piece = self._replies.read(min(count - len(data), _PIECE_BYTES))
            if not piece:
                raise self._cause_of_death()
            data += piece
            if len(data) < count and time.monotonic() > deadline:
                raise self._stalled()  # an incomplete message does not count as one
        return bytes(data)

    def _await_reply(self, should_stop: Callable[[], bool], deadline: float) -> None:
        """Waits until the child has sent something. Logs printed text, which does not extend the deadline."""
        while True:
            pipes = [self._replies] if self._output.ended else [self._replies, self._output]
            ready = _readable(pipes, _LOOK_SECONDS)
            if self._output in ready:
                self._output.read(1)
            look_now = time.monotonic() >= self._next_look
            if look_now:
                self._next_look = time.monotonic() + _LOOK_SECONDS
                self._note_memory()
                if should_stop():
                    raise Stopped
            if self._replies in ready:
                return
            if look_now and time.monotonic() > deadline:
                raise self._stalled()

    def _note_memory(self) -> None:
        self._most_data = max(self._most_data, data_bytes(self._process.pid))

    @property
    def _was_full(self) -> bool:
        return self._most_data > self._limits.full_bytes

    def _stalled(self) -> Exception:
        return ending.stalled(self._stall_seconds, self._was_full, self._said())

    def _cause_of_death(self) -> Exception:
        try:
            code = self._process.wait(_DEATH_SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        match self._watch.excess:
            case "files":
                return ending.scratch_full(self._limits.scratch_bytes)
            case "memory":
                return ending.out_of_memory()
        return ending.death(code, self._was_full, self._said())

    def _said(self) -> str:
        self._output.read()
        return self._output.last_words


def _readable(pipes: list[Any], seconds: float) -> list[Any]:
    """Returns the pipes that have data or have ended. select(2) would accept no fd above 1023."""
    poll = select.poll()
    by_fd = {pipe.fileno(): pipe for pipe in pipes}
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    return [by_fd[fd] for fd, _ in poll.poll(seconds * 1000)]
