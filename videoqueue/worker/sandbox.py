"""The child process that touches hostile bytes, seen from the worker.

A child is started by exec in a session of its own, without secrets in its environment, and dies with the
thread that started it. It serves one job after the other, so that models stay warm; a child that crashed or
was interrupted is killed and the next job gets a new one. Worker and child exchange length-prefixed JSON
(4 bytes big endian, then UTF-8) over a pair of pipes.
"""

from __future__ import annotations

import json
import os
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import videoqueue
from videoqueue.errors import (
    InvalidVideoError,
    PermanentError,
    SandboxCrashedError,
    TransientError,
    VideoFault,
)

LENGTH = struct.Struct(">I")

#: The largest message taken from a child; a frame's result is far smaller.
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
#: How long a child that closed its end may take to die, seconds.
_DEATH_SECONDS = 5
#: How often a waiting worker looks whether it should stop, seconds.
_LOOK_SECONDS = 0.2
#: The environment a child may see: enough to start Python, nothing that opens database, queue or storage.
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a child is asked to do."""

    path: str
    pipeline_id: str
    frame_stride: int
    max_frames: int | None
    start_after: int | None


@dataclass(frozen=True)
class Seen:
    """One finished frame."""

    item: dict[str, Any]


@dataclass(frozen=True)
class Alive:
    """A sign of life with the fraction of the video done, 0 to 1."""

    progress: float


class Stopped(Exception):  # noqa: N818 - not an error: the worker asked for it
    """`should_stop` became true; the child is gone."""


class Sandbox:
    """At most one child, owned by one thread."""

    def __init__(self, pipeline_options: Mapping[str, Any]) -> None:
        self._options = pipeline_options
        self._child: subprocess.Popen[bytes] | None = None
        self._requests: BinaryIO | None = None
        self._replies: BinaryIO | None = None

    def run(self, task: Task, should_stop: Callable[[], bool]) -> Generator[Seen | Alive]:
        """Has the child run the task and yields what it reports, in order.

        Raises:
            PermanentError, TransientError: as the child says: the video, pipeline or plugin is at fault.
            SandboxCrashedError: the child died; the message names the signal or exit code.
            Stopped: `should_stop` became true.
        """
        if self._child is None:
            self._start()
        finished = False
        try:
            self._send(asdict(task))
            while (reply := self._receive(should_stop)).get("type") != "done":
                yield _report(reply)
            finished = True
        except PermanentError:
            finished = True
            raise
        finally:
            # Whatever else ends the loop leaves a child of unknown state, also when the caller stops reading.
            if not finished:
                self.close()

    def close(self) -> None:
        """Kills the child and everything it started."""
        child, self._child = self._child, None
        if child is not None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        for stream in (self._requests, self._replies):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def _start(self) -> None:
        request_read, request_write = os.pipe()
        reply_read, reply_write = os.pipe()
        fds = (request_read, reply_write)
        command = [sys.executable, "-m", "videoqueue.worker.child", *map(str, (*fds, os.getpid()))]
        try:
            self._child = subprocess.Popen(
                [*command, json.dumps(self._options)],
                stdin=subprocess.DEVNULL,
                stdout=2,  # what a plugin prints belongs to the log
                pass_fds=fds,
                start_new_session=True,
                env=child_environment(os.environ),
            )
        finally:
            for fd in fds:
                os.close(fd)
        self._requests = os.fdopen(request_write, "wb", buffering=0)
        self._replies = os.fdopen(reply_read, "rb", buffering=0)

    def _send(self, message: Mapping[str, Any]) -> None:
        with suppress(BrokenPipeError):  # a dead child is noticed, and named, when its reply is awaited
            cast(BinaryIO, self._requests).write(pack(message))

    def _receive(self, should_stop: Callable[[], bool]) -> dict[str, Any]:
        if should_stop():
            raise Stopped
        (length,) = LENGTH.unpack(self._read(LENGTH.size, should_stop))
        if length > _MAX_MESSAGE_BYTES:
            raise SandboxCrashedError("The process that reads the video sent a message that is too long.")
        return cast(dict[str, Any], json.loads(self._read(length, should_stop)))

    def _read(self, count: int, should_stop: Callable[[], bool]) -> bytes:
        replies = cast(BinaryIO, self._replies)
        data = b""
        while len(data) < count:
            while not select.select([replies], [], [], _LOOK_SECONDS)[0]:
                if should_stop():
                    raise Stopped
            piece = replies.read(count - len(data))
            if not piece:
                raise SandboxCrashedError(self._cause_of_death())
            data += piece
        return data

    def _cause_of_death(self) -> str:
        try:
            code = cast("subprocess.Popen[bytes]", self._child).wait(_DEATH_SECONDS)
        except subprocess.TimeoutExpired:
            return "The process that reads the video hung up without ending."
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"The process that reads the video {how}."


def pack(message: Mapping[str, Any]) -> bytes:
    data = json.dumps(message, ensure_ascii=False, allow_nan=False).encode()
    return LENGTH.pack(len(data)) + data


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What a child may see of `environ`; it finds this package wherever the worker found it."""
    kept = {name: environ[name] for name in _ENVIRONMENT if name in environ}
    # Each video has threads of its own, and without a bound each of them keeps memory that it has freed.
    return kept | {"PYTHONPATH": str(Path(videoqueue.__path__[0]).parent), "MALLOC_ARENA_MAX": "2"}


def _report(reply: Mapping[str, Any]) -> Seen | Alive:
    match reply:
        case {"type": "item", "item": {"frame_index": int(), "result": dict()} as item}:
            return Seen(item)
        case {"type": "alive", "progress": int() | float() as progress}:
            return Alive(float(progress))
        case {"type": "bad_video", "code": str() as code, "message": str() as message}:
            raise InvalidVideoError(cast(VideoFault, code), message)
        case {"type": "failed", "message": str() as message}:
            raise PermanentError(message)
        case {"type": "again", "message": str() as message}:
            raise TransientError(message)
    raise SandboxCrashedError("The process that reads the video sent a message that makes no sense.")
