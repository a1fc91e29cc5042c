"""Finds secrets in what the processes of tests have logged.

It is a plugin of pytest: at the end of a session, every file `*.log` of its tests is searched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

#: The admin key of every service that a test starts with one.
ADMIN_KEY = "an-admin-key-of-32-characters-ok"

_SECRETS = re.compile(
    rf"vq_[a-z2-7]{{12}}_[0-9A-Za-z]|{re.escape(ADMIN_KEY)}|"
    r"(?i:(?:bearer|basic|digest)\s+(?!KEY\b|realm=|\*\*\*)[\w+/=.~-]{8,})"
)


def leaks(text: str) -> list[str]:
    """Returns the lines with a secret in them."""
    return [line for line in text.splitlines() if _SECRETS.search(line)]


def leaks_below(folder: Path) -> dict[str, list[str]]:
    """Returns such lines of all logs in the folder, by the path of the log."""
    found = {str(file): leaks(file.read_text(errors="replace")) for file in folder.rglob("*.log")}
    return {file: lines for file, lines in found.items() if lines}


@pytest.fixture(scope="session", autouse=True)
def no_secret_in_any_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fails the session if a process of any of its tests has logged a secret."""
    yield
    assert leaks_below(tmp_path_factory.getbasetemp()) == {}
