"""A rule, and how rules look for what they forbid."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from governance.tree import Found, Tree

#: File, line, and what was found there with its remedy.
Findings: TypeAlias = Iterator[tuple[str, int, str]]


@dataclass(frozen=True)
class Rule:
    name: str
    promise: str
    look: Callable[[Tree], Findings]


def rule(name: str, promise: str) -> Callable[[Callable[[Tree], Findings]], Rule]:
    return lambda look: Rule(name, promise, look)


def forbidden(tree: Tree, modules: tuple[str, ...], packages: tuple[str, ...], remedy: str) -> Findings:
    for module in tree.modules:
        for found in module.imports():
            if covers(modules, found.name):
                yield found.file, found.line, f"{found.name} is imported. {remedy}"
    for found in tree.requirements:
        if any(found.name == name or found.name.startswith(f"{name}-") for name in packages):
            yield found.file, found.line, f"{found.name} is required. {remedy}"


@cache
def covers(names: tuple[str, ...], imported: str) -> bool:
    return any(imported == name or imported.startswith(f"{name}.") for name in names)


def texts(tree: Tree, pattern: str) -> Iterator[Found]:
    for module in tree.modules:
        yield from (found for found in module.texts() if re.search(pattern, found.name, re.IGNORECASE))


def named(part: str, names: Any) -> set[str]:
    return {name for name in names if part in name}


def line_of(tree: Tree, file: str, name: str) -> int:
    """The line of a function or class; 1 when there is none."""
    for module in tree.modules:
        if module.file == file:
            for node in module.nodes(ast.FunctionDef, ast.ClassDef):
                if node.name == name:
                    return int(node.lineno)
    return 1


def place(found: dict[str, Any]) -> tuple[str, int]:
    return found["file"], found["line"]


def listed(names: Any) -> str:
    return ", ".join(sorted(map(str, names)))
