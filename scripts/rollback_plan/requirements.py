"""Takes packages out of a pinned requirements file."""

from __future__ import annotations

import re


def pruned(text: str, direct: set[str]) -> str:
    """Pinned requirements without the packages that nothing needs any more, as ./scripts/lock writes them."""
    heading, *blocks = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)
    needed_by: dict[str, set[str]] = {}
    for block in blocks:
        needed_by.setdefault(package_name(block), set()).update(map(package_name, needing(block)))
    kept = set(direct)
    while more := {name for name, parents in needed_by.items() if name not in kept and parents & kept}:
        kept |= more
    return heading + "".join(
        with_reasons(block, kept, package_name(block) in direct)
        for block in blocks
        if package_name(block) in kept
    )


def needing(block: str) -> list[str]:
    """What stands behind "via" in the comment below a pinned package."""
    comment = "\n".join(
        line.strip().lstrip("#") for line in block.splitlines() if line.strip().startswith("#")
    )
    return [line.strip() for line in comment.replace("via", "", 1).splitlines() if line.strip()]


def with_reasons(block: str, kept: set[str], direct: bool) -> str:
    lines = [line for line in block.splitlines() if not line.strip().startswith("#")]
    reasons = [
        reason
        for reason in needing(block)
        if reason.startswith("-")
        or (direct if "(pyproject.toml)" in reason else package_name(reason) in kept)
    ]
    via = (
        [f"    # via {reasons[0]}"]
        if len(reasons) == 1
        else ["    # via", *(f"    #   {r}" for r in reasons)]
    )
    return "\n".join([*lines, *via]) + "\n"


def package_name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", match[0]).lower() if match else requirement
