"""Named steps between side effects, at which a test can kill, stop or fail a process.

They have no effect unless VIDEOQUEUE_FAILPOINTS_DIR names a folder. A file there with the name of a step is
an order to the first process that reaches the step:

    kill        send SIGKILL to the process
    stop        send SIGSTOP; it continues after SIGCONT
    raise       raise an exception that no code expects
    kill @3     the same, when a process reaches the step for the third time

The file is renamed to NAME.fired before the order is carried out, so that it acts only once and a restarted
process survives.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

#: Every step, with the state in which it is reached.
STEPS: Final[Mapping[str, str]] = {
    "web.object_stored": "the video is stored, its row is not committed",
    "web.row_committed": "the row is committed, the job is not announced",
    "web.announced": "the message is on the queue, the response is not sent",
    "web.duplicate_found": "the Idempotency-Key has a job, the second copy of the video is not removed",
    "job.counted": "a change of the row and its counts are written, and not committed",
    "worker.message_taken": "the message is fetched, the job is still pending",
    "worker.claimed": "the row is running",
    "worker.downloaded": "the video is in the work folder",
    "worker.child_started": "the child process is started, it has no task",
    "worker.version_stored": "the pipeline's version is stored, the chunks of another version are removed",
    "worker.chunk_committed": "results, progress and lease are committed",
    "worker.before_complete": "every chunk is committed, the row is still running",
    "worker.completed": "the row is completed, the message is not acknowledged",
    "worker.segments_begun": "the row is completed, its segments are about to be made",
    "worker.segments_kept": "the segments are kept, the message is not acknowledged",
    "worker.failed": "the row is failed, the message is not acknowledged",
    "worker.released": "the row is pending again, the retry is not enqueued",
    "worker.before_ack": "the job is done with, the message is not acknowledged",
    "child.task_received": "the child has received its task",
    "child.first_frame_sent": "one frame is reported",
    "child.last_frame_sent": "all frames are reported, the end is not",
    "child.done_sent": "the end is reported, the child waits for the next task",
    "sweeper.heartbeat": "the heartbeat is written, the rest of the pass is not done",
    "sweeper.before_expire": "an expired lease is found",
    "sweeper.expired": "its job is pending, and is not announced",
    "sweeper.announcement_taken": "the time of the next announcement is stored, this one is not sent",
    "deletion.row_deleted": "a job is deleted, its video is not",
    "deletion.video_deleted": "job and video are removed, the deletion is not recorded as finished",
    "deletion.finished": "a deletion is finished, the response is not sent",
    "webhook.taken": "a webhook event is taken, and not sent",
    "webhook.sent": "a webhook has a response, its outcome is not stored",
    "purger.deletion_found": "an interrupted deletion is found, its video is not yet removed",
    "purger.row_deleted": "an ended job is removed, its video is not",
    "purger.object_deleted": "job and video are removed, the pass is not over",
    "purger.orphan_found": "a video without a job is found, and not yet removed",
}

_FIRED: Final = ".fired"
_ACTIONS: Final = ("kill", "stop", "raise")

_folder: Path | None = None
_passed: Counter[str] = Counter()


class InjectedError(Exception):
    """The exception of `raise`; like a bug, no code expects it."""


def arm(folder: str | Path) -> None:
    """Makes this process carry out the orders in the folder; an empty text disables them."""
    global _folder
    _folder = Path(folder) if folder else None
    _passed.clear()


def armed() -> str:
    """Returns the folder, for a child process; '' if there is none."""
    return "" if _folder is None else str(_folder)


def failpoint(name: str) -> None:
    """Marks a step: carries out the order for it, if there is one."""
    if _folder is not None:
        _pass(_folder / name)


def flaws(folder: Path) -> list[str]:
    """Returns the faults of the folder: files that name no step, or no known action."""
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
        return _ACTIONS[0]  # another process has carried it out meanwhile


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
        return  # there is no order, or another process has carried it out
    del _passed[order.name]
    if action == "raise":
        raise InjectedError(order.name)
    os.kill(os.getpid(), signal.SIGKILL if action == "kill" else signal.SIGSTOP)
