"""The child process itself: `python -m videoqueue.worker.child REQUEST_FD REPLY_FD PARENT_PID OPTIONS`.

Reads tasks, runs the pipeline on each and reports every finished frame; see `sandbox` for the other side. It
knows no database, queue or storage.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, BinaryIO

from videoqueue.errors import InvalidVideoError, PermanentError, TransientError
from videoqueue.orphans import die_with_parent
from videoqueue.worker.sandbox import LENGTH, pack

#: Signs of life at most this often, seconds.
_ALIVE_SECONDS = 0.5


def main(request_fd: int, reply_fd: int, parent_pid: int, options: dict[str, Any]) -> None:
    die_with_parent(parent_pid)
    # A deploy's TERM goes to whole groups at times; when to end is the worker's to say.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from videoqueue.pipeline.service import build_service

    service = build_service(**options)
    with os.fdopen(request_fd, "rb") as requests, os.fdopen(reply_fd, "wb") as replies:
        while header := requests.read(LENGTH.size):
            task = json.loads(requests.read(LENGTH.unpack(header)[0]))
            _serve(service.iter_file, task, replies)


def _serve(iter_file: Callable[..., Any], task: dict[str, Any], replies: BinaryIO) -> None:
    def reply(message: dict[str, Any]) -> None:
        replies.write(pack(message))
        replies.flush()

    last = 0.0

    def on_progress(fraction: float) -> None:
        nonlocal last
        if time.monotonic() - last >= _ALIVE_SECONDS:
            last = time.monotonic()
            reply({"type": "alive", "progress": fraction})

    try:
        for item in iter_file(task.pop("path"), task.pop("pipeline_id"), on_progress=on_progress, **task):
            reply({"type": "item", "item": item})
    except InvalidVideoError as error:
        reply({"type": "bad_video", "code": error.code, "message": str(error)})
    except PermanentError as error:
        reply({"type": "failed", "message": str(error)})
    except TransientError as error:
        reply({"type": "again", "message": str(error)})
    else:
        reply({"type": "done"})


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4]))
