"""Takes configuration out of the documentation, so that what is checked is what users copy."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "deploying.md"
_INDENT = "    "


def block(first: str) -> str:
    """Returns the indented block of the page whose first line is `first`, without the indent."""
    lines = PAGE.read_text().splitlines()
    starts = [number for number, line in enumerate(lines) if line == _INDENT + first]
    if len(starts) != 1:
        sys.exit(f"check_servers: {PAGE.name} has {len(starts)} blocks that begin with {first!r}.")
    found = []
    for line in lines[starts[0] :]:
        if line and not line.startswith(_INDENT):
            break
        found.append(line.removeprefix(_INDENT))
    return "\n".join(found).rstrip() + "\n"


def settings(text: str) -> dict[str, str]:
    """Returns the variables of a block with lines NAME=VALUE."""
    return dict(line.split("=", 1) for line in text.splitlines() if line)


def adapted(text: str, changes: Mapping[str, str]) -> str:
    """Returns the configuration with other addresses and paths; each of them has to occur once."""
    for old, new in changes.items():
        if len(re.findall(re.escape(old), text)) != 1:
            sys.exit(f"check_servers: the configuration in {PAGE.name} has no {old!r}, or several.")
        text = text.replace(old, new)
    return text
