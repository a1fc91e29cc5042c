"""Takes configuration out of the documentation, so that what is checked is what users copy."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


def rights_of_redis(password: str) -> list[str]:
    """Returns the rules of the Redis user in the section on the queue, with a password."""
    start = "    ACL SETUSER videoqueue "
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith(start)]
    if len(lines) != 1:
        sys.exit(f"check_servers: {PAGE.name} has {len(lines)} lines that begin with {start.strip()!r}.")
    rules = adapted(lines[0].removeprefix(start), {">PASSWORD": f">{password}"})
    # Rules are added to those that the user has: `reset` takes these away.
    return ["reset", *rules.split()]


def policy_of_s3(bucket: str, prefix: str) -> dict[str, Any]:
    """Returns the policy of the section on S3, for a bucket and a prefix."""
    found = re.findall(r"^```json\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    policies = [text for text in found if "s3:GetObject" in text]
    if len(policies) != 1:
        sys.exit(f"check_servers: {PAGE.name} has {len(policies)} policies for S3.")
    policy: dict[str, Any] = json.loads(policies[0].replace("BUCKET", bucket).replace("PREFIX", prefix))
    return policy
