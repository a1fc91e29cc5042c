"""Takes functions, classes and fields out of a Python module."""

from __future__ import annotations

import ast
import sys

from rollback_plan.plan import Plan


def with_definitions(file: str, text: str, wanted: Plan) -> str:
    """The module with only the definitions to keep, a few of them replaced; without unused imports."""
    keep, replace = set(wanted["keep"]), wanted.get("replace", {})
    lines = text.splitlines(keepends=True)
    module = ast.parse(text)
    names = {name for name, _ in definitions(module)}
    if missing := sorted((keep | set(replace)) - names - {"__doc__"}):
        sys.exit(f"rollback: {file} does not define {', '.join(missing)}; mend the plan.")
    doomed: list[tuple[int, int, str]] = []
    for name, node in definitions(module):
        owner = name.rpartition(".")[0]
        if name in replace:
            doomed.append((*span(node), replace[name]))
        elif name not in keep and (not owner or any(kept.startswith(f"{owner}.") for kept in keep)):
            doomed.append((*span(node), ""))
    if "__doc__" in replace:
        doomed.append((*span(module.body[0]), replace["__doc__"]))
    for start, end, new in sorted(doomed, reverse=True):
        lines[start:end] = new.splitlines(keepends=True)
        if not new:
            close_gap(lines, start)
    return without_unused_imports("".join(lines).rstrip("\n") + "\n")


def close_gap(lines: list[str], at: int) -> None:
    """Blank lines before and behind a definition that went become as many as stand between what is left."""
    first, end = at, at
    while first and lines[first - 1] == "\n":
        first -= 1
    while end < len(lines) and lines[end] == "\n":
        end += 1
    if first < at < end:
        before, behind = lines[first - 1], lines[end] if end < len(lines) else ""
        outermost = not (before.startswith(" ") and behind.startswith(" "))
        lines[first:end] = ["\n"] * (2 if outermost else 1)


def definitions(module: ast.Module) -> list[tuple[str, ast.stmt]]:
    """Functions, classes and assigned names of the module, and, as Class.name, what a class has of them."""
    found = []
    for node in module.body:
        found += [(name, node) for name in names_of(node)]
        if isinstance(node, ast.ClassDef):
            found += [(f"{node.name}.{name}", member) for member in node.body for name in names_of(member)]
    return found


def names_of(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = (
        node.targets
        if isinstance(node, ast.Assign)
        else [node.target]
        if isinstance(node, ast.AnnAssign)
        else []
    )
    return [target.id for target in targets if isinstance(target, ast.Name)]


def span(node: ast.stmt) -> tuple[int, int]:
    """First line, decorators included, and the one behind the last."""
    first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
    return first - 1, node.end_lineno or node.lineno


def without_unused_imports(text: str) -> str:
    module = ast.parse(text)
    used = {node.id for node in ast.walk(module) if isinstance(node, ast.Name)} | {"annotations"}
    lines = text.splitlines(keepends=True)
    imports = [node for node in module.body if isinstance(node, ast.Import | ast.ImportFrom)]
    for node in reversed(imports):
        node_names = [alias for alias in node.names if (alias.asname or alias.name).split(".")[0] in used]
        if len(node_names) < len(node.names):
            node.names = node_names
            start, end = node.lineno - 1, node.end_lineno or node.lineno
            if not node_names and lines[start - 1 : start] == lines[end : end + 1] == ["\n"]:
                start -= 1  # it was a group of its own
            lines[start:end] = [ast.unparse(node) + "\n"] if node_names else []
    return "".join(lines)
