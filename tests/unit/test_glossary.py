"""Every word of the glossary leads to a file or a definition, and the words of the field are in it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = re.findall(
    r"^\| (.+?) \| (.+?) \| \[`(.+?)`\]\((.+?)\) \|$", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE
)
WORDS = [word for word, *_ in ROWS]
#: Words that a reader of the code or the pages looks for.
WANTED = """
    admission, announce, attempt, backend timeout, broker, charset, checkpoint, checksum, child, chunk, claim,
    composition root, concurrency limit, confidence threshold, deadline, display matrix, expired lease, fault,
    frame index, frame task, gunicorn, heartbeat, IoU threshold, job, lane, lease, lease policy, letterbox,
    logging, manifest, middleware, NMS, node, orphan, output format, pipeline, plugin, preprocessing,
    probability map, problem, purge, rate limit, retention, retry, rotation, sandbox, slot, stride, sweep,
    text detector, text recognizer, tied to parent, timeout, tool, worker
"""


def test_the_words_of_the_field_are_in_the_glossary() -> None:
    assert {word.strip() for word in WANTED.split(",")} - set(WORDS) == set()


def test_the_words_are_sorted_and_stand_once() -> None:
    assert sorted(set(WORDS), key=str.lower) == WORDS


@pytest.mark.parametrize(("word", "place", "link"), [(word, place, link) for word, _, place, link in ROWS])
def test_every_word_names_a_file_or_a_definition(word: str, place: str, link: str) -> None:
    name, _, definition = place.partition("::")
    file = ROOT / "videoqueue" / name
    assert file.is_file(), word
    assert (ROOT / "docs" / link).resolve() == file
    if definition:
        assert definition in _defined(ast.parse(file.read_text())), word


def _defined(module: ast.Module) -> set[str]:
    """Returns the names that a module defines: functions, classes and constants."""
    names = set()
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names
