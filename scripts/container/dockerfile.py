"""Reads a Dockerfile: the instructions and forms that this project uses. Any other is an error.

Source: Dockerfile reference of Docker.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_KNOWN = (
    *("FROM", "ENV", "RUN", "WORKDIR", "COPY", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL"),
    *("HEALTHCHECK", "ENTRYPOINT", "CMD"),
)


@dataclass(frozen=True)
class Instruction:
    """One instruction: its name in capitals, and the rest of its lines, joined."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """Returns the exec form of a command, or the words of any other instruction."""
        return list(map(str, json.loads(self.text))) if self.text.startswith("[") else shlex.split(self.text)


def read(file: Path) -> list[Instruction]:
    """Returns the instructions of a Dockerfile.

    Raises:
        SystemExit: it has an instruction that is not known here.
    """
    return list(_instructions(file.read_text()))


def _instructions(text: str) -> Iterator[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    for line in joined.splitlines():
        name, _, rest = line.partition(" ")
        if name not in _KNOWN:
            raise SystemExit(f"check_container: the Dockerfile has the unknown instruction {name}")
        yield Instruction(name, rest.strip())


def command_of_health_check(instruction: Instruction) -> list[str]:
    """Returns the command of a HEALTHCHECK in exec form."""
    found = re.search(r"CMD (\[.*\])$", instruction.text)
    if found is None:
        raise SystemExit("check_container: HEALTHCHECK is not in exec form")
    return list(map(str, json.loads(found[1])))
