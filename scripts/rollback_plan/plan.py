"""The lists of the plan, and whether they fit the tree."""

from __future__ import annotations

import fnmatch
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

PLAN = "docs/PHASE_16_ROLLBACK_PLAN.md"
PROJECT = "pyproject.toml"
Plan = dict[str, Any]


def read_plan(tree: Path) -> Plan:
    """The TOML blocks of the document, taken together."""
    blocks = re.findall(r"^```toml\n(.*?)^```$", read(tree, PLAN), re.MULTILINE | re.DOTALL)
    return tomllib.loads("\n".join(blocks))


def files_of(tree: Path) -> list[str]:
    """What belongs to the tree; new files count before they are known to git, ignored ones do not."""
    if (tree / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=tree, check=True, capture_output=True, text=True).stdout.split(
            "\0"
        )
        return sorted({name for name in listed if name and (tree / name).is_file()})
    ignored = [line.strip("/") for line in read(tree, ".gitignore").split()]
    found = (file.relative_to(tree) for file in tree.rglob("*") if file.is_file())
    return sorted(str(name) for name in found if not any(fnmatch.filter(name.parts, one) for one in ignored))


def plan_faults(plan: Plan, present: list[str]) -> list[str]:
    """A line for each file that is in no list or in two, and for each entry without a file."""
    changed = [PROJECT, *plan["whole"], *plan["edit"], *plan["definitions"], *plan["requirements"]]
    lists = {"remove": plan["remove"], "stay": plan["stay"], "the changes": changed}
    faults = []
    for file in present:
        where = [name for name, entries in lists.items() if any(covers(entry, file) for entry in entries)]
        if not where:
            faults.append(f"  forgotten: {file!r} is in no list")
        elif len(where) > 1:
            faults.append(f"  {file!r} is in {' and in '.join(where)}")
    for entry in (entry for entries in lists.values() for entry in entries if entry not in plan["whole"]):
        if not any(covers(entry, file) for file in present):
            faults.append(f"  {entry!r} is not there any more")
    return faults


def covers(entry: str, file: str) -> bool:
    return file.startswith(entry) if entry.endswith("/") else file == entry


def read(tree: Path, file: str) -> str:
    try:
        return (tree / file).read_text(encoding="utf-8")
    except FileNotFoundError:
        sys.exit(f"rollback: {file} is missing; is {tree} the top folder of videoqueue?")
