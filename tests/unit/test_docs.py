"""The documentation is complete and its links lead somewhere."""

import re
import subprocess
from pathlib import Path

import pytest

from videoqueue.api.problems import PROBLEMS
from videoqueue.cli import cli
from videoqueue.cli.settings import table
from videoqueue.jobs.types import STATUSES

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
ENDPOINTS = (ROOT / "docs" / "PHASE_16_ENDPOINTS.md").read_text()


def test_the_settings_page_has_the_generated_table() -> None:
    assert table() in (ROOT / "docs" / "settings.md").read_text()


def test_every_error_code_is_documented_with_its_status() -> None:
    documented = {
        code: int(status)
        for codes, status in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (\d{3}) \|", ENDPOINTS, re.MULTILINE)
        for code in re.findall(r"\w+", codes)
    }
    assert documented == {code: status for code, (status, _) in PROBLEMS.items()}


def test_every_status_is_documented() -> None:
    assert all(f"`{status}`" in ENDPOINTS for status in STATUSES)


@pytest.mark.parametrize("name", [name for name in cli.commands])
def test_every_command_is_mentioned(name: str) -> None:
    assert any(re.search(rf"videoqueue {name}\b", page.read_text()) for page in DOCS)


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_links_to_files_resolve(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_the_security_policy_names_tests_and_settings_that_exist() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    assert [
        path
        for path in re.findall(r"`((?:tests|scripts|\./scripts)/[\w./]+)`", text)
        if not (ROOT / path).exists()
    ] == []
    names = set(re.findall(r"VIDEOQUEUE_[A-Z_]+", text))
    assert names
    assert [name for name in names if f"`{name}`" not in (ROOT / "docs/settings.md").read_text()] == []
    assert "Report a vulnerability" in text


def test_every_script_is_in_the_contributors_table() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text() + (ROOT / "README.md").read_text()
    assert [
        script.name
        for script in (ROOT / "scripts").iterdir()
        if script.is_file() and f"scripts/{script.name}" not in text
    ] == []


@pytest.mark.parametrize(
    "script",
    [path for path in sorted((ROOT / "scripts").iterdir()) if path.is_file()],
    ids=lambda path: path.name,
)
def test_the_help_of_every_script_names_the_script_in_its_usage(script: Path) -> None:
    done = subprocess.run([script, "--help"], capture_output=True, text=True, check=True, timeout=120)
    assert re.search(rf"[Uu]sage: ([\w./]*/)?{script.name} ", done.stdout)
