"""What a validator hands over: one thing that is wrong, in one line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from videoqueue.errors import PipelineError

_LONGEST_VALUE = 60


@dataclass(frozen=True)
class Fault:
    """`where`: file and node, or plugin and tool; empty if `what` tells. `what`: the flaw, and the remedy."""

    where: str
    what: str

    def __str__(self) -> str:
        # What a plugin's author wrote may hold line breaks.
        line = f"{self.where}: {self.what}" if self.where else self.what
        return " ".join(line.split())


def raise_first(faults: Iterable[Fault]) -> None:
    """Raises the first fault as a PipelineError, if there is one."""
    for fault in faults:
        raise PipelineError(str(fault))


def listed(names: Iterable[str]) -> str:
    """Names as a sentence takes them."""
    return ", ".join(repr(name) for name in sorted(names)) or "nothing"


def shown(value: object) -> str:
    """A value as it may stand in a line: cut when it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
