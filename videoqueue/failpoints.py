"""Named steps between every two side effects, at which a test can kill, stop or fail a process.

A testing aid: nothing happens unless VIDEOQUEUE_FAILPOINTS_DIR names a folder. A file there that bears the
name of a step is an order to the first process that passes the step:

    kill        ends the process as `kill -9` does
    stop        freezes it (SIGSTOP), until somebody sends SIGCONT
    raise       fails there with an exception that nothing expects
    kill @3     the same, the third time a process passes

The order is renamed to NAME.fired before it is obeyed, so that it is obeyed once: a process that is started
again lives.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

#: Every step there is, with what has just happened when it is passed.
STEPS: Final[Mapping[str, str]] = {
    "web.object_stored": "the video is durable, no row knows it",
    "web.row_committed": "the job is accepted, nobody was told",
    "web.announced": "the job is on the queue, the client has no answer",
    "web.duplicate_found": "the Idempotency-Key was known, the second copy of the video is still there",
    "worker.message_taken": "the message is out of the queue, the job still pending",
    "worker.claimed": "the row is running",
    "worker.downloaded": "the video lies in the work folder",
    "worker.child_started": "a child process exists, it has no task",
    "worker.version_stored": "the pipeline's version is stored, what another one had found is removed",
    "worker.chunk_committed": "results, progress and lease were committed",
    "worker.before_complete": "every chunk is committed, the row still running",
    "worker.completed": "the row is completed, the message not acknowledged",
    "worker.failed": "the row is failed, the message not acknowledged",
    "worker.released": "the row is pending again, the retry not enqueued",
    "worker.before_ack": "nothing is left to do but to acknowledge the message",
    "child.task_received": "the child knows its task",
    "child.first_frame_sent": "one frame was reported",
    "child.last_frame_sent": "all frames were reported, the end was not",
    "child.done_sent": "the end was reported, the child waits for the next task",
    "sweeper.heartbeat": "the worker's sign of life is written, nothing else of this pass done",
    "sweeper.before_expire": "a dead lease was found",
    "sweeper.expired": "its job is pending, nobody was told",
    "sweeper.announcement_taken": "the next announcement was moved on, this one not made",
    "purger.row_deleted": "an ended job is gone, its video is not",
    "purger.object_deleted": "job and video are gone, the pass is not over",
    "purger.orphan_found": "a video without a job was found, and not yet removed",
}

_FIRED: Final = ".fired"
_ACTIONS: Final = ("kill", "stop", "raise")

_folder: Path | None = None
_passed: Counter[str] = Counter()


class InjectedError(Exception):
    """What `raise` raises: as unexpected as a bug."""


def arm(folder: str | Path) -> None:
    """Has this process obey the orders in the folder; an empty text disarms it."""
    global _folder
    _folder = Path(folder) if folder else None
    _passed.clear()


def armed() -> str:
    """The folder, to be handed to a child process; '' when there is none."""
    return "" if _folder is None else str(_folder)


def failpoint(name: str) -> None:
    """Passes the step: returns, but for an order to the contrary."""
    if _folder is not None:
        _pass(_folder / name)


def flaws(folder: Path) -> list[str]:
    """What in the folder is no order: a file named after no step, or one that asks for nothing known."""
    found = []
    for order in sorted(folder.iterdir()):
        if order.name.removesuffix(_FIRED) not in STEPS:
            found.append(f"{order.name!r} is no step")
        elif not order.name.endswith(_FIRED) and not _is_order(_text(order)):
            found.append(f"{order.name!r} asks for none of {', '.join(_ACTIONS)}")
    return found


def _text(order: Path) -> str:
    try:
        return order.read_text()
    except FileNotFoundError:
        return _ACTIONS[0]  # obeyed by another process a moment ago


def _is_order(text: str) -> bool:
    action, _, count = text.strip().partition(" @")
    return action in _ACTIONS and (not count or count.isdigit())


def _pass(order: Path) -> None:
    try:
        action, _, count = order.read_text().strip().partition(" @")
        _passed[order.name] += 1
        if _passed[order.name] < int(count or 1):
            return
        order.rename(order.with_name(order.name + _FIRED))
    except FileNotFoundError:
        return  # no order, or another process was first to obey it
    del _passed[order.name]
    if action == "raise":
        raise InjectedError(order.name)
    os.kill(os.getpid(), signal.SIGKILL if action == "kill" else signal.SIGSTOP)
