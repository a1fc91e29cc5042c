"""`./scripts/audit` tells "nothing is known" from "nothing could be looked up"."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NO_NETWORK = {
    "PYTHON": sys.executable,
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_INDEX_URL": "http://127.0.0.1:1/simple",
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_FIND_LINKS": "",
    "PIP_RETRIES": "0",
    "PIP_NO_CACHE_DIR": "1",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "audit", tmp_path / "scripts")
    for file in ROOT.glob("requirements*.txt"):
        shutil.copy(file, tmp_path)
    return tmp_path


def audit(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [tree / "scripts" / "audit", *arguments],
        env=os.environ | NO_NETWORK,
        capture_output=True,
        text=True,
        check=False,
    )


def with_tool(tree: Path, says: str, code: int) -> None:
    """Puts a program in the place of pip-audit, whose advisories cannot be made to say this."""
    tool = tree / "build" / "audit"
    (tool / "bin").mkdir(parents=True)
    program = tool / "bin" / "pip-audit"
    program.write_text(
        f"#!/bin/sh\nprintf '%s\\n' \"$*\" > {tree}/given\nprintf '%s\\n' '{says}' >&2\nexit {code}\n"
    )
    program.chmod(0o755)
    text = (tree / "requirements-audit.txt").read_bytes()
    (tool / ".stamp").write_text(subprocess.check_output(["cksum"], input=text).decode())


def test_without_a_network_the_tool_is_not_installed_and_nothing_is_said_to_be_audited(tree: Path) -> None:
    done = audit(tree)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "audit: pip-audit cannot be installed, so nothing was audited. Is there a network?"
    )
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("says", "code", "ends", "last"),
    [
        ("No known vulnerabilities found", 0, 0, ""),
        (
            "Found 2 known vulnerabilities in 1 package",
            1,
            1,
            "audit: update these packages (./scripts/lock --upgrade).",
        ),
        (
            "ERROR:pip_audit._cli:Could not connect",
            1,
            2,
            "audit: the advisories could not be looked up, so this is no result. Is there a network?",
        ),
    ],
)
def test_the_exit_code_is_that_of_the_result(tree: Path, says: str, code: int, ends: int, last: str) -> None:
    with_tool(tree, says, code)
    done = audit(tree)
    assert (done.returncode, (done.stderr.splitlines() or [""])[-1]) == (ends, last)
    assert says in done.stdout + done.stderr
    given = (tree / "given").read_text().split()
    assert {"--strict", "--require-hashes"} <= set(given)
    assert {file.name for file in ROOT.glob("requirements*.txt")} - set(given) == {
        "requirements-benchmark.txt"
    }


def test_every_pinned_package_has_a_hash_and_no_file_names_a_registry() -> None:
    for file in ROOT.glob("requirements*.txt"):
        pins = [line for line in file.read_text().replace("\\\n", "").splitlines() if "==" in line]
        assert pins, file.name
        assert [pin for pin in pins if "--hash=sha256:" not in pin] == []
        assert "://" not in file.read_text()


def test_help_is_shown_and_unknown_options_are_refused(tree: Path) -> None:
    assert "exit code 0: none is known" in audit(tree, "--help").stdout
    assert audit(tree, "--what").returncode == 2
