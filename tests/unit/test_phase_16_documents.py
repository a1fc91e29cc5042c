"""The documents of Phase 16 exist, and what they name exists: files, settings, routes, states, rules."""

from __future__ import annotations

import re
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from videoqueue.app import create_app
from videoqueue.jobs.types import STATUSES
from videoqueue.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from governance.rules import RULES  # noqa: E402

DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])
NAMES = (
    "OVERVIEW ARCHITECTURE SCOPE ENDPOINTS WORKER_LIFECYCLE TEST_STRATEGY GOVERNANCE_RULES DEFINITION_OF_DONE"
)
DEFAULTS = {entry.metadata["name"]: entry.default for entry in fields(Settings)}
LIFECYCLE = (DOCS / "PHASE_16_WORKER_LIFECYCLE.md").read_text()
STRATEGY = (DOCS / "PHASE_16_TEST_STRATEGY.md").read_text()
GOVERNANCE = (DOCS / "PHASE_16_GOVERNANCE_RULES.md").read_text()


@pytest.mark.parametrize("name", [*NAMES.split(), "ROLLBACK_PLAN"])
def test_the_document_exists_and_can_be_found(name: str) -> None:
    document = f"PHASE_16_{name}.md"
    assert (DOCS / document).read_text().startswith("# ")
    assert any(f"({prefix}{document})" in page.read_text() for page in PAGES for prefix in ("", "docs/"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    named = re.findall(
        r"`(?:\./)?((?:tests|scripts|docs|migrations|\.github|\.ci)/[\w./-]*\w)[ `]", page.read_text()
    )
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_that_are_named_exist(page: Path) -> None:
    named = set(re.findall(r"\bVIDEOQUEUE_[A-Z_]*[A-Z]\b", page.read_text()))
    assert named - set(DEFAULTS) == set()


def test_the_timings_are_those_of_the_settings() -> None:
    rows = dict(re.findall(r"^\| `(VIDEOQUEUE_\w+)` \| ([\d.]+) \|", LIFECYCLE, re.MULTILINE))
    assert {name: float(value) for name, value in rows.items()} == {name: DEFAULTS[name] for name in rows}
    durations = {name for name in DEFAULTS if name.endswith(("_SECONDS", "_ATTEMPTS", "_CRASHES"))}
    of_the_web = {
        name for name in durations if re.search("UPLOAD|HEADER|KEEP_ALIVE|SLOT|BACKEND|READY", name)
    }
    assert durations - of_the_web <= set(rows)


def test_the_lifecycle_names_every_state_and_transition() -> None:
    edges = set(re.findall(r"^    (\S+) --> (\S+?):? ", LIFECYCLE, re.MULTILINE))
    assert {state for edge in edges for state in edge} == {*STATUSES, "[*]"}
    assert {(old, new) for old, new in edges if "[*]" not in (old, new)} == {
        ("pending", "running"),
        ("running", "running"),
        ("running", "completed"),
        ("running", "failed"),
        ("running", "pending"),
    }


def test_every_route_is_described(tmp_path: Path) -> None:
    environ = {"VIDEOQUEUE_DATA_DIR": str(tmp_path), "REDIS_URL": "redis://127.0.0.1:1/0"}
    paths = {rule.rule for rule in create_app(load_settings(environ)).url_map.iter_rules()}
    page = (DOCS / "PHASE_16_ENDPOINTS.md").read_text()
    assert {path for path in paths if path.replace("<job_id>", "{job_id}") not in page} == set()
    assert {"/video/submit", "/video/status/<job_id>", "/video/results/<job_id>"} <= paths


def test_every_governance_rule_is_explained_with_its_promise() -> None:
    assert re.findall(r"^\| `([\w-]+)` \|", GOVERNANCE, re.MULTILINE) == list(RULES)


def test_every_file_of_tests_of_the_service_has_its_place_in_the_strategy() -> None:
    below = [
        *(ROOT / "tests" / "integration").glob("test_*.py"),
        *(ROOT / "tests" / "system").glob("test_*.py"),
    ]
    assert [path.name for path in below if f"`{path.relative_to(ROOT)}`" not in STRATEGY] == []


def test_every_step_of_the_build_is_in_the_strategy() -> None:
    steps = re.findall(r"^(\./.*)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert re.findall(r"\| `(\./scripts/[^`]*)` \|$", STRATEGY, re.MULTILINE) == steps
