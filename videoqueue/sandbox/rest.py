"""What is left of a task, for another child to continue with."""

from __future__ import annotations

from dataclasses import replace

from videoqueue.sandbox.protocol import Begun, Report, Seen, Task


class Rest:
    """The rest of a task.

    Attributes:
        task: the rest, as a task.
        is_acknowledged: whether the present child has acknowledged the task.
        has_begun: whether it has reported the version.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.restart()

    def restart(self) -> None:
        """Notes that a child is given the task that has not yet reported anything."""
        self.is_acknowledged = self.has_begun = False

    def take(self, report: Report) -> None:
        """Notes what the child has reported."""
        self.is_acknowledged = True
        match report:
            case Begun(version):
                self.has_begun = True
                # Frames of another version do not count; the child starts from the first frame.
                counts = self.task.version in (None, version)
                start_after = self.task.start_after if counts else None
                self.task = replace(self.task, version=version, start_after=start_after)
            case Seen(item):
                self.task = replace(self.task, start_after=item["frame_index"])
