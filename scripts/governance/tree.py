"""A source tree as the rules see it: what its modules import, call and say, what it requires and serves."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

PROBE = Path(__file__).with_name("probe.py")
_PROBE_SECONDS = 120


@dataclass(frozen=True)
class Found:
    """Something at a place: a module's name, a called name, a text."""

    name: str
    file: str
    line: int
    node: Any = None


class ProbeError(Exception):
    """The application could not be built or did not answer as a videoqueue does."""


def _once(look: Callable[[Module], Iterator[Found]]) -> Callable[[Module], tuple[Found, ...]]:
    """Makes a method look once: the rules ask for the same again and again."""

    def looked(module: Module) -> tuple[Found, ...]:
        if look.__name__ not in module.seen:
            module.seen[look.__name__] = tuple(look(module))
        return module.seen[look.__name__]

    return looked


class Module:
    """One Python file, read but not run."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.seen: dict[str, tuple[Found, ...]] = {}
        self._nodes: dict[type[ast.AST], list[Any]] = {}
        for node in ast.walk(ast.parse(text, file)):
            self._nodes.setdefault(type(node), []).append(node)

    def nodes(self, *kinds: type[ast.AST]) -> Iterator[Any]:
        return (node for kind in kinds for node in self._nodes.get(kind, ()))

    @_once
    def imports(self) -> Iterator[Found]:
        """Every module or name that is imported, wherever in the file, also by `import_module("...")`."""
        for node in self.nodes(ast.Import):
            for alias in node.names:
                yield self._found(alias.name, node)
        for node in self.nodes(ast.ImportFrom):
            if node.level == 0:
                for alias in node.names:
                    yield self._found(f"{node.module}.{alias.name}", node)
        for call in self.calls():
            given = call.node.args[:1]
            by_name = call.name.split(".")[-1] in ("import_module", "__import__")
            if by_name and given and isinstance(given[0], ast.Constant):
                yield self._found(str(given[0].value), call.node)

    @_once
    def calls(self) -> Iterator[Found]:
        """Every call, by the dotted name of what is called; its last part when there is no such name."""
        for node in self.nodes(ast.Call):
            yield self._found(dotted(node.func), node)

    @_once
    def texts(self) -> Iterator[Found]:
        """Every text that the code uses; docstrings are prose."""
        prose = {id(node.value) for node in self.nodes(ast.Expr)}
        for node in self.nodes(ast.Constant):
            if id(node) not in prose and isinstance(node.value, str | bytes):
                value = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
                yield self._found(value, node)

    def within(self, function: str, node: ast.AST) -> bool:
        """Whether the node stands in the function of that name."""
        return any(
            node in ast.walk(found)
            for found in self.nodes(ast.FunctionDef, ast.AsyncFunctionDef)
            if found.name == function
        )

    def _found(self, name: str, node: Any) -> Found:
        return Found(name, self.file, node.lineno, node)


@cache
def _module(file: str, text: str) -> Module:
    return Module(file, text)


class Tree:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.modules = [
            _module(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))
            for path in sorted(root.glob("videoqueue/**/*.py"))
        ]

    def folder(self, *names: str) -> list[Module]:
        """The modules below these folders of the package."""
        inside = tuple(f"videoqueue/{name}/" for name in names)
        return [module for module in self.modules if module.file.startswith(inside)]

    @cached_property
    def requirements(self) -> list[Found]:
        """What the package requires at run time: as declared, and as pinned with all that comes with it."""
        project = self.root / "pyproject.toml"
        declared = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
        found = [Found(_package(text), project.name, _line(project, text)) for text in declared]
        pinned = self.root / "requirements.txt"
        for number, line in enumerate(pinned.read_text(encoding="utf-8").splitlines(), 1):
            if re.match(r"[A-Za-z0-9]", line):
                found.append(Found(_package(line), pinned.name, number))
        return found

    @cached_property
    def served(self) -> dict[str, Any]:
        """What the built application has and returns; see `probe`.

        Raises:
            ProbeError: with what Python had to say.
        """
        done = run_probe(self.root)
        if done.returncode != 0:
            raise ProbeError((done.stderr.strip().splitlines() or ["no reason given"])[-1])
        facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return facts


def run_probe(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-B", str(PROBE), str(root)],
        capture_output=True,
        text=True,
        timeout=_PROBE_SECONDS,
        check=False,
    )


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _package(requirement: str) -> str:
    """The normalised name at the beginning of a requirement."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", name.group() if name else requirement).lower()


def _line(file: Path, text: str) -> int:
    lines = file.read_text(encoding="utf-8").splitlines()
    return next((number for number, line in enumerate(lines, 1) if f'"{text}"' in line), 1)
