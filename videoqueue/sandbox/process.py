"""One child process, seen from the worker: start, messages, death."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from videoqueue import failpoints, launch
from videoqueue.errors import OutOfMemoryError, PermanentError, SandboxCrashedError
from videoqueue.pipeline.memory import is_out_of_memory_text
from videoqueue.pipeline_options import PipelineOptions
from videoqueue.sandbox.child_output import ChildOutput
from videoqueue.sandbox.limits import SandboxLimits, data_bytes, resident_bytes
from videoqueue.sandbox.protocol import LENGTH, MAX_MESSAGE_BYTES, Task, pack

#: How long a child that closed its end may take to die, seconds.
_DEATH_SECONDS = 5
#: How a process may end that used what a failed allocation returned, without a word.
_MAY_BE_MEMORY = (-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGABRT, -signal.SIGILL, -signal.SIGFPE)
#: How often a waiting worker looks whether it should stop, seconds.
_LOOK_SECONDS = 0.2
#: The environment a child may see: enough to start Python, nothing that opens database, queue or storage.
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
#: Bytes asked from the pipe at once; it holds no more.
_PIECE_BYTES = 64 * 1024


class Stopped(Exception):  # noqa: N818 - not an error: the worker asked for it
    """`should_stop` became true; the child is gone."""


class ChildProcess:
    """Started by exec in a session of its own; dies with the thread that made it."""

    def __init__(self, pipeline_options: PipelineOptions, limits: SandboxLimits) -> None:
        self._limits = limits
        self._stall_seconds = limits.stall_seconds
        self._most_data = 0
        self._next_look = 0.0
        self.jobs = 0  # done so far; counted by the sandbox
        request_read, request_write = os.pipe()
        reply_read, reply_write = os.pipe()
        fds = (request_read, reply_write)
        options = {
            "pipeline": asdict(pipeline_options),
            "limits": asdict(limits),
            "failpoints": failpoints.armed(),
            "log_level": logging.getLogger().level,
        }
        arguments = (*map(str, (*fds, os.getpid())), json.dumps(options))
        try:
            self._process = subprocess.Popen(
                launch.command("videoqueue.sandbox.child", *arguments, readable=True),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,  # what a plugin prints belongs to the log, too
                stderr=subprocess.STDOUT,
                pass_fds=fds,
                start_new_session=True,
                env=child_environment(os.environ),
            )
        except BaseException:
            os.close(request_write)
            os.close(reply_read)
            raise
        finally:
            for fd in fds:
                os.close(fd)
        self._requests = os.fdopen(request_write, "wb", buffering=0)
        self._replies = os.fdopen(reply_read, "rb", buffering=0)
        assert self._process.stdout is not None
        output = os.dup(self._process.stdout.fileno())
        self._process.stdout.close()
        self._output = ChildOutput(output, self._process.pid, limits.log_lines)

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    @property
    def resident_bytes(self) -> int:
        return resident_bytes(self._process.pid)

    @property
    def is_silent(self) -> bool:
        """Whether nothing was sent that was not received: between two tasks a child has nothing to say."""
        return not _readable([self._replies], 0)

    def begin(self, task: Task) -> None:
        self._output.begin(task.log_fields())
        with suppress(BrokenPipeError):  # a dead child is noticed, and named, when its reply is awaited
            self._requests.write(pack(task.message()))

    def end(self) -> None:
        """Logs what the child has printed during its task."""
        self._output.end_job()

    def receive(self, should_stop: Callable[[], bool]) -> bytes:
        """The child's next message; each is a sign of life.

        Raises:
            Stopped: `should_stop` became true.
            PermanentError: the message is too long.
            OutOfMemoryError, SandboxCrashedError: the child died, or gave no sign of life for too long.
        """
        deadline = time.monotonic() + self._stall_seconds
        self._note_memory()
        if should_stop():
            raise Stopped
        (length,) = LENGTH.unpack(self._read(LENGTH.size, should_stop, deadline))
        if length > MAX_MESSAGE_BYTES:
            raise PermanentError(
                f"The result of a frame is larger than {MAX_MESSAGE_BYTES} bytes. Use another pipeline."
            )
        return self._read(length, should_stop, deadline)

    def kill(self) -> None:
        """Kills the child and everything it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._output.close()
        for stream in (self._requests, self._replies):
            with suppress(OSError):
                stream.close()

    def _read(self, count: int, should_stop: Callable[[], bool], deadline: float) -> bytes:
        data = bytearray()
        while len(data) < count:
            self._await_reply(should_stop, deadline)
            piece = self._replies.read(min(count - len(data), _PIECE_BYTES))
            if not piece:
                raise self._cause_of_death()
            data += piece
            if len(data) < count and time.monotonic() > deadline:
                raise self._stalled()  # a message that trickles in is no sign of life
        return bytes(data)

    def _await_reply(self, should_stop: Callable[[], bool], deadline: float) -> None:
        """Waits until the child has sent something, and logs what it prints, which is no sign of life."""
        while True:
            pipes = [self._replies] if self._output.ended else [self._replies, self._output]
            ready = _readable(pipes, _LOOK_SECONDS)
            if self._output in ready:
                self._output.read()
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
        # Python and OpenVINO may wait for ever for a thread that could not allocate.
        if self._was_full or is_out_of_memory_text(self._said()):
            return OutOfMemoryError("The process that reads the video ran out of memory.")
        return SandboxCrashedError(
            "The process that reads the video gave no sign of life for "
            f"{self._stall_seconds:g} seconds (VIDEOQUEUE_STALL_TIMEOUT_SECONDS) and was ended."
        )

    def _cause_of_death(self) -> Exception:
        try:
            code = self._process.wait(_DEATH_SECONDS)
        except subprocess.TimeoutExpired:
            return SandboxCrashedError("The process that reads the video hung up without ending.")
        # A limit of ours ends in a failed allocation; SIGKILL is what the kernel sends for the whole machine.
        if (code in _MAY_BE_MEMORY and self._was_full) or (
            code != -signal.SIGKILL and is_out_of_memory_text(self._said())
        ):
            return OutOfMemoryError("The process that reads the video ran out of memory.")
        how = f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        hint = " The machine may have run out of memory." if code == -signal.SIGKILL else ""
        return SandboxCrashedError(f"The process that reads the video {how}.{hint}")

    def _said(self) -> str:
        self._output.read()
        return self._output.last_words


def _readable(pipes: list[Any], seconds: float) -> list[Any]:
    """Those of the pipes that hold something, or have ended; select(2) takes no fd above 1023."""
    poll = select.poll()
    by_fd = {pipe.fileno(): pipe for pipe in pipes}
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    return [by_fd[fd] for fd, _ in poll.poll(seconds * 1000)]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # a real-time signal has no name


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What a child may see of `environ`; it finds packages wherever the worker found them."""
    kept = {name: environ[name] for name in _ENVIRONMENT if name in environ}
    return kept | {
        "PYTHONPATH": environ.get("PYTHONPATH", ""),
        # Each video has threads of its own, and without a bound each of them keeps memory that it has freed.
        "MALLOC_ARENA_MAX": "2",
        # NumPy's OpenBLAS starts a thread for each core at its import: 2.6 GB of the limit on 64 cores.
        "OPENBLAS_NUM_THREADS": "1",
        # At its file limit Python would leave half of a .pyc, which no process could import any more.
        "PYTHONDONTWRITEBYTECODE": "1",
    }
