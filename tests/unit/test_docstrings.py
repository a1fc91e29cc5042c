"""Docstrings say what a caller has to know."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SAYS_RESULT = re.compile(r"\b([Rr]eturns|[Yy]ields)\b")
WITHOUT_RESULT = {"None", "NoReturn", "Iterator[None]"}


def public_functions(scope: ast.Module | ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in scope.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node


def silent_about_result(source: str) -> list[str]:
    """Returns the public functions that return something and have no docstring that says what."""
    return [
        function.name
        for function in public_functions(ast.parse(source))
        if function.returns and ast.unparse(function.returns) not in WITHOUT_RESULT
        if not SAYS_RESULT.search(ast.get_docstring(function) or "")
    ]


def test_every_public_function_says_what_it_returns() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): names
        for path in (ROOT / "videoqueue").rglob("*.py")
        if (names := silent_about_result(path.read_text()))
    }
    assert found == {}


def test_a_function_without_a_result_needs_no_word_about_it() -> None:
    assert silent_about_result("def stop() -> None: ...\nclass _Own:\n    def size(self) -> int: ...") == []


def test_a_property_of_a_public_class_needs_one() -> None:
    assert silent_about_result("class Job:\n    @property\n    def size(self) -> int: ...") == ["size"]
