"""The new texts of the files that change."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from rollback_plan.definitions import with_definitions
from rollback_plan.plan import PROJECT, Plan, read
from rollback_plan.requirements import package_name, pruned


def changed_files(tree: Path, plan: Plan) -> dict[str, str]:
    """The new text of every file that changes; the requirements follow from the new pyproject.toml."""
    texts: dict[str, str] = dict(plan["whole"])
    for file, wanted in plan["definitions"].items():
        texts[file] = with_definitions(file, read(tree, file), wanted)
    for file, edits in plan["edit"].items():
        texts[file] = edited(file, texts.get(file) or read(tree, file), edits)
    texts[PROJECT] = without_dependencies(texts.get(PROJECT) or read(tree, PROJECT), plan["dependencies"])
    project = tomllib.loads(texts[PROJECT])["project"]
    for file, extras in plan["requirements"].items():
        direct = [*project["dependencies"], *(i for e in extras for i in project["optional-dependencies"][e])]
        texts[file] = pruned(read(tree, file), {package_name(item) for item in direct})
    return texts


def edited(file: str, text: str, edits: Plan) -> str:
    """Each edit must find its place exactly once, so that none does nothing, or more than was meant."""
    for old, new in edits.get("replace", []):
        start = the_one_place(file, text, old)
        text = text[:start] + new + text[start + len(old) :]
    for first, end, *new in edits.get("cut", []):
        start = the_one_place(file, text, first)
        rest = text[start + len(first) :]
        text = text[:start] + "".join(new) + (rest[the_one_place(file, rest, end) :] if end else "")
    for line in edits.get("delete", []):
        start = the_one_place(file, "\n" + text, "\n" + line)
        text = text[:start] + text[text.index("\n", start) + 1 :]
    if rows := edits.get("rows"):
        text = with_rows(file, text, rows)
    return text


def with_rows(file: str, text: str, wanted: list[str]) -> str:
    """Tables whose first column is code: only rows with one of these names stay."""
    for name in wanted:
        the_one_place(file, text, f"\n| `{name}` |")
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("| `") or line.split("`")[1] in wanted)


def the_one_place(file: str, text: str, wanted: str) -> int:
    if text.count(wanted) != 1:
        sys.exit(f"rollback: {file} has {wanted!r} {text.count(wanted)} times, not once; mend the plan.")
    return text.index(wanted)


def without_dependencies(text: str, wanted: dict[str, list[str]]) -> str:
    """pyproject.toml without the packages to remove; each that it names has to be in one of the two lists."""
    project = tomllib.loads(text)["project"]
    extras = project.get("optional-dependencies", {}).values()
    named = {*project["dependencies"], *(item for extra in extras for item in extra)}
    lines = []
    for line in text.splitlines(keepends=True):
        item = line.strip().rstrip(",").strip('"')
        name = package_name(item) if item in named else None
        if name and (name in wanted["remove"]) == (name in wanted["stay"]):
            sys.exit(
                f"rollback: the plan has to say of the dependency {name!r} whether it is removed or stays."
            )
        if name not in wanted["remove"]:
            lines.append(line)
    return "".join(lines)
