"""A fault that a check found, as one line of text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from videoqueue.errors import PipelineError

_MAX_CHARACTERS = 60


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        where: The file and node, or the plugin and tool; empty if `what` names them.
        what: What is wrong and what to change.
    """

    where: str
    what: str

    def __str__(self) -> str:
        # Texts from a plugin may contain line breaks.
        line = f"{self.where}: {self.what}" if self.where else self.what
        return " ".join(line.split())


def raise_first(faults: Iterable[Fault]) -> None:
    """Raises the first fault as a PipelineError, if there is one."""
    for fault in faults:
        raise PipelineError(str(fault))


def listed(names: Iterable[str]) -> str:
    """Returns the names in quotes, sorted, separated by commas; "nothing" if there are none."""
    return ", ".join(repr(name) for name in sorted(names)) or "nothing"


def shown(value: object) -> str:
    """Returns the value's representation, truncated if it is long."""
    text = repr(value)
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}..."
