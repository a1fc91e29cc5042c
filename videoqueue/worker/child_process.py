"""One child process, seen from the worker: start, messages, death."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import videoqueue
from videoqueue import failpoints
from videoqueue.errors import OutOfMemoryError, PermanentError, SandboxCrashedError
from videoqueue.worker.limits import SandboxLimits, resident_bytes
from videoqueue.worker.protocol import LENGTH, MAX_MESSAGE_BYTES, pack

#: How long a child that closed its end may take to die, and its last words to arrive, seconds.
_DEATH_SECONDS = 5
#: How often a waiting worker looks whether it should stop, seconds.
_LOOK_SECONDS = 0.2
#: The environment a child may see: enough to start Python, nothing that opens database, queue or storage.
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
#: How a process ends whose allocation failed, and what it then prints last: C++, then Python.
_OUT_OF_MEMORY = {-signal.SIGABRT: b"std::bad_alloc", 1: b"MemoryError"}
_LAST_WORDS_BYTES = 4096


class Stopped(Exception):  # noqa: N818 - not an error: the worker asked for it
    """`should_stop` became true; the child is gone."""


class ChildProcess:
    """Started by exec in a session of its own; dies with the thread that made it."""

    def __init__(self, pipeline_options: Mapping[str, Any], limits: SandboxLimits) -> None:
        self._stall_seconds = limits.stall_seconds
        self.jobs = 0  # done so far; counted by the sandbox
        request_read, request_write = os.pipe()
        reply_read, reply_write = os.pipe()
        fds = (request_read, reply_write)
        options = {
            "pipeline": dict(pipeline_options),
            "limits": asdict(limits),
            "failpoints": failpoints.armed(),
        }
        command = [sys.executable, "-m", "videoqueue.worker.child", *map(str, (*fds, os.getpid()))]
        try:
            self._process = subprocess.Popen(
                [*command, json.dumps(options)],
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
        self._log = _Log(self._process)
        self._log.start()

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    @property
    def resident_bytes(self) -> int:
        return resident_bytes(self._process.pid)

    def send(self, message: Mapping[str, Any]) -> None:
        with suppress(BrokenPipeError):  # a dead child is noticed, and named, when its reply is awaited
            self._requests.write(pack(message))

    def receive(self, should_stop: Callable[[], bool]) -> bytes:
        """The child's next message; each is a sign of life.

        Raises:
            Stopped: `should_stop` became true.
            PermanentError: the message is too long.
            OutOfMemoryError, SandboxCrashedError: the child died, or gave no sign of life for too long.
        """
        deadline = time.monotonic() + self._stall_seconds
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
        self._log.join(_DEATH_SECONDS)
        for stream in (self._requests, self._replies):
            with suppress(OSError):
                stream.close()

    def _read(self, count: int, should_stop: Callable[[], bool], deadline: float) -> bytes:
        data = bytearray()
        while len(data) < count:
            while not select.select([self._replies], [], [], _LOOK_SECONDS)[0]:
                if should_stop():
                    raise Stopped
                if time.monotonic() > deadline:
                    raise SandboxCrashedError(
                        "The process that reads the video gave no sign of life for "
                        f"{self._stall_seconds:g} seconds (VIDEOQUEUE_STALL_TIMEOUT_SECONDS) and was ended."
                    )
            piece = self._replies.read(count - len(data))
            if not piece:
                raise self._cause_of_death()
            data += piece
        return bytes(data)

    def _cause_of_death(self) -> Exception:
        try:
            code = self._process.wait(_DEATH_SECONDS)
        except subprocess.TimeoutExpired:
            return SandboxCrashedError("The process that reads the video hung up without ending.")
        if code in _OUT_OF_MEMORY and self._log.ends_with(_OUT_OF_MEMORY[code]):
            return OutOfMemoryError("The process that reads the video ran out of memory.")
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        # A limit of ours ends in a failed allocation; SIGKILL is what the kernel sends for the whole machine.
        hint = " The machine may have run out of memory." if code == -signal.SIGKILL else ""
        return SandboxCrashedError(f"The process that reads the video {how}.{hint}")


class _Log(threading.Thread):
    """Hands what a child prints on to this process's log, and keeps the end of it.

    A child that wrote to the log itself could fill it, and a large log would count against its file limit.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        super().__init__(name=f"log of child {process.pid}", daemon=True)
        self._pipe = process.stdout
        self._last_words = b""

    def run(self) -> None:
        assert self._pipe is not None
        with self._pipe:
            while piece := os.read(self._pipe.fileno(), _LAST_WORDS_BYTES):
                self._last_words = (self._last_words + piece)[-_LAST_WORDS_BYTES:]
                with suppress(OSError):
                    os.write(2, piece)

    def ends_with(self, sign: bytes) -> bool:
        """Whether the last lines of a child that has died hold the sign."""
        self.join(_DEATH_SECONDS)
        return sign in self._last_words


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What a child may see of `environ`; it finds packages wherever the worker found them."""
    kept = {name: environ[name] for name in _ENVIRONMENT if name in environ}
    package = str(Path(videoqueue.__path__[0]).parent)
    path = os.pathsep.join(filter(None, (package, environ.get("PYTHONPATH"))))
    return kept | {
        "PYTHONPATH": path,
        # Each video has threads of its own, and without a bound each of them keeps memory that it has freed.
        "MALLOC_ARENA_MAX": "2",
        # At its file limit Python would leave half of a .pyc, which no process could import any more.
        "PYTHONDONTWRITEBYTECODE": "1",
    }
