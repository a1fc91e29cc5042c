"""The child process itself: `python -m videoqueue.sandbox.child REQUEST_FD REPLY_FD PARENT_PID OPTIONS`.

It confines itself, reads tasks, runs the pipeline on each, and reports every finished frame. The other end is
`videoqueue.sandbox.process`. It has no access to database, queue and storage.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any, BinaryIO

from videoqueue import failpoints, logs
from videoqueue.errors import (
    InvalidVideoError,
    NoFrameError,
    OutOfMemoryError,
    PermanentError,
    TransientError,
)
from videoqueue.failpoints import failpoint
from videoqueue.log_setup import configure
from videoqueue.parent_death import die_with_parent
from videoqueue.pipeline import refusals
from videoqueue.pipeline.decode.video_info import VideoInfo
from videoqueue.pipeline_options import PipelineOptions
from videoqueue.sandbox.access import NO_WALLS, Cell
from videoqueue.sandbox.hardening import REMEDIES, enter
from videoqueue.sandbox.limits import SandboxLimits, begin_job, confine, shrink_stacks
from videoqueue.sandbox.protocol import LENGTH, pack
from videoqueue.sandbox.untrusted import clean_text

#: Minimum seconds between two `alive` messages.
_ALIVE_SECONDS = 0.5


def main(request_fd: int, reply_fd: int, parent_pid: int, options: dict[str, Any]) -> None:
    """Serves tasks until the worker closes the request pipe.

    Args:
        request_fd: the pipe that tasks arrive on.
        reply_fd: the pipe for the replies.
        parent_pid: the worker, with which this process ends.
        options: the pipeline's options, the limits, what it may reach, the folder of failpoints and the level
            of the log.
    """
    die_with_parent(parent_pid)
    failpoints.arm(options["failpoints"])
    limits = SandboxLimits(**options["limits"])
    confine(limits)
    shrink_stacks()
    cell = Cell(**options["cell"])
    if enter(cell) != NO_WALLS:
        # What libraries keep for later belongs into the scratch folder: the home folder is closed.
        os.environ["HOME"] = cell.scratch
        refusals.watch(REMEDIES)
    # Without line buffering, text that was printed before a crash would be lost.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    configure("child", options["log_level"], logs.PIPE)
    # A platform may send SIGTERM to the whole group. The worker decides when the child ends.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from videoqueue.pipeline.service import build_service

    service = build_service(PipelineOptions(**options["pipeline"]))
    with os.fdopen(request_fd, "rb") as requests, os.fdopen(reply_fd, "wb") as replies:
        while header := requests.read(LENGTH.size):
            task = json.loads(requests.read(LENGTH.unpack(header)[0]))
            failpoint("child.task_received")
            begin_job(limits)
            _serve(service.iter_file, task, replies)


def _serve(iter_file: Callable[..., Any], task: dict[str, Any], replies: BinaryIO) -> None:
    reply = _Reporter(replies)
    path, pipeline_id = task.pop("path"), task.pop("pipeline_id")
    logs.set_context(job_id=task.pop("job_id"), attempt=task.pop("attempt"))
    try:
        # Acknowledges the task before anything of it that takes time, such as loading a model.
        reply.alive(0.0)
        items = iter_file(
            path,
            pipeline_id,
            on_load=reply.loaded,
            on_progress=reply.progressed,
            on_video=reply.video_read,
            on_version=reply.begun,
            **task,
        )
        for item in items:
            reply.send({"type": "item", "item": item})
            failpoint("child.first_frame_sent")
    except Exception as error:
        outcome = _outcome(error)
        if outcome is None:
            raise
        reply.end(outcome)
    else:
        failpoint("child.last_frame_sent")
        reply.end({"type": "done"})
        failpoint("child.done_sent")


class _Reporter:
    """Sends messages, and `alive` messages at a limited rate."""

    def __init__(self, replies: BinaryIO) -> None:
        self._replies = replies
        self._last = 0.0
        self._video = VideoInfo()

    def send(self, message: dict[str, Any]) -> None:
        self._replies.write(pack(message))
        self._replies.flush()

    def end(self, outcome: dict[str, Any]) -> None:
        """Sends the outcome, with the known facts about the video.

        Printed text is flushed first: the worker assigns all text before the outcome to this job.
        """
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        self.send(outcome | asdict(self._video))

    def alive(self, fraction: float) -> None:
        self._last = time.monotonic()
        self.send({"type": "alive", "progress": fraction})

    def video_read(self, video: VideoInfo) -> None:
        self._video = video

    def begun(self, version: str) -> None:
        self.send({"type": "version", "version": version})

    def loaded(self) -> None:
        self.alive(0.0)

    def progressed(self, fraction: float) -> None:
        if time.monotonic() - self._last >= _ALIVE_SECONDS:
            self.alive(fraction)


def _outcome(error: Exception) -> dict[str, Any] | None:
    """Returns the outcome message for an error; None for a bug in this program."""
    from videoqueue.pipeline.memory import is_out_of_memory

    match error:
        case OutOfMemoryError():
            return {"type": "out_of_memory", "message": clean_text(str(error))}
        case NoFrameError():
            return {"type": "no_frame", "message": clean_text(str(error))}
        case InvalidVideoError():
            return {"type": "bad_video", "code": error.code, "message": clean_text(str(error))}
        case PermanentError():
            return {"type": "failed", "code": error.code, "message": clean_text(str(error))}
        case TransientError():
            return {"type": "again", "message": clean_text(str(error))}
        case _ if is_out_of_memory(error):
            return {"type": "out_of_memory", "message": "The video needs more memory than a job may have."}
    return None


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4]))
