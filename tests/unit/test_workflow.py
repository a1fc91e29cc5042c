"""GitHub Actions runs what `.ci/run` runs, and no more than it is allowed to.

`scripts/lint` checks the file against GitHub's schema.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / ".github" / "workflows" / "phase16.yml"
WORKFLOW: dict[Any, Any] = yaml.safe_load(FILE.read_text())
JOBS: dict[str, dict[str, Any]] = WORKFLOW["jobs"]
STEPS = [step for job in JOBS.values() for step in job["steps"]]
LOCAL = re.findall(r"^\./.*$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)


#: Steps of GitHub Actions alone: they need the internet, and the first a container engine.
ONLINE = ["./scripts/check_container --compose", "./scripts/audit"]


def test_the_workflow_and_ci_run_have_the_same_steps_but_for_those_that_need_the_internet() -> None:
    assert sorted(step["run"] for step in STEPS if "run" in step) == sorted([*LOCAL, *ONLINE])
    assert not set(ONLINE) & set(LOCAL)


def test_the_suites_require_the_sandbox_in_both() -> None:
    text = (ROOT / ".ci" / "run").read_text()
    assert re.findall(r"^export (VIDEOQUEUE_\w+)=(\w+)", text, re.MULTILINE) == [
        (name, value) for name, value in WORKFLOW["env"].items() if name.startswith("VIDEOQUEUE_")
    ]
    assert WORKFLOW["env"]["VIDEOQUEUE_SANDBOX"] == "required"


def test_ci_run_stops_at_the_first_step_that_fails() -> None:
    text = (ROOT / ".ci" / "run").read_text()
    assert "set -euo pipefail\n" in text
    assert not re.search(r"\|\||set \+e|; *true\b", text)


@pytest.mark.parametrize("command", [*LOCAL, *ONLINE])
def test_a_step_is_a_script_of_the_repository(command: str) -> None:
    script = ROOT / command.split()[0]
    assert script.parent == ROOT / "scripts"
    assert os.access(script, os.X_OK)


@pytest.mark.parametrize("layer", ["unit", "integration", "system", "browser"])
def test_every_layer_of_tests_is_run(layer: str) -> None:
    assert f"./scripts/test --coverage tests/{layer}" in LOCAL


def test_no_test_stands_outside_the_layers() -> None:
    layers = {path.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").rglob("test_*.py")}
    assert layers == {"unit", "integration", "system", "browser"}


@pytest.mark.parametrize("name", ["pipelines", "plugins", "governance", "migrations", "smoke"])
def test_every_validator_is_run(name: str) -> None:
    assert f"./scripts/validate {name}" in LOCAL


def test_the_tests_run_on_the_oldest_and_the_newest_python() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    match = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', project)
    assert match is not None
    oldest, beyond = map(int, match.groups())
    assert JOBS["test"]["strategy"]["matrix"]["python"] == [f"3.{oldest}", f"3.{beyond - 1}"]


def test_the_workflow_may_only_read() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert [name for name, job in JOBS.items() if "permissions" in job] == []
    assert "secrets" not in FILE.read_text()


def test_actions_are_pinned_and_jobs_end() -> None:
    """By the hash of a commit: a tag can be moved. A comment names the version."""
    uses = re.findall(r"uses: (.+)", FILE.read_text())
    assert len(uses) == sum("uses" in step for step in STEPS)
    pinned = re.compile(r"actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    assert [action for action in uses if not pinned.fullmatch(action)] == []
    assert len(set(uses)) == len({action.partition("@")[0] for action in uses}), "one version of each"
    assert all(0 < job["timeout-minutes"] <= 40 for job in JOBS.values())
    assert WORKFLOW["concurrency"]["group"]


def test_no_address_is_written_down() -> None:
    assert "://" not in FILE.read_text()
