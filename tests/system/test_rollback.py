"""The rollback plan, carried out: its data part against real processes, its code part in a copy."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.records import new_job
from tests.support.stack import ROOT, Service, environment, submit
from tests.support.videos import make_video, spoil_samples
from videoqueue.services import Services

sys.path.insert(0, str(ROOT / "scripts"))

from rollback_plan.plan import PLAN, covers, files_of, read_plan

PAGE = (ROOT / PLAN).read_text()
LISTS = read_plan(ROOT)
SAMPLE = "videoqueue/cli/sample.mp4"

#: Makes removed packages look as if they were not installed, also to processes that tests start.
BLOCKER = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, NotInstalled())
"""

#: Runs the first tests of each file, with the first of their parameters: the rollback changes what is there,
#: not what is computed.
FIRST_TESTS = """
from collections import Counter

def pytest_collection_modifyitems(items):
    first = {item.nodeid.partition("[")[0]: item for item in reversed(items)}
    kept, of_file = [], Counter()
    for item in items:
        if first[item.nodeid.partition("[")[0]] is item and of_file[item.path] < 4:
            of_file[item.path] += 1
            kept.append(item)
    items[:] = kept
"""


def run(tree: Path, *command: str | Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs Python there; the tree's own package comes before the one that is installed."""
    searched = os.pathsep.join(map(str, [tree, *([path] if path else [])]))
    ours = {"PYTHONPATH": searched, "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return subprocess.run(
        [sys.executable, *command],
        cwd=tree,
        env=inherited | ours,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def roll_back(tree: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run(tree, ROOT / "scripts" / "rollback", *options, tree)


def copy_of_the_tree(target: Path) -> Path:
    for name in files_of(ROOT):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)
    return target


def files_in(tree: Path) -> dict[str, bytes]:
    return {str(file.relative_to(tree)): file.read_bytes() for file in tree.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def rolled_back(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = copy_of_the_tree(tmp_path_factory.mktemp("rolled_back"))
    done = roll_back(tree)
    sys.stdout.write(done.stdout)
    assert done.returncode == 0, done.stderr
    return tree


@pytest.fixture(scope="module")
def without_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH that hides the removed packages, but for those that RapidOCR needs."""
    folder = tmp_path_factory.mktemp("without_packages")
    gone = set(LISTS["dependencies"]["remove"]) - {"requests", "pyyaml"}
    modules = {module for module, owners in packages_distributions().items() if gone & normalized(owners)}
    (folder / "sitecustomize.py").write_text(BLOCKER.format(names=sorted(modules)))
    (folder / "first_tests.py").write_text(FIRST_TESTS)
    return folder


def normalized(names: list[str]) -> set[str]:
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names}


def test_every_file_of_the_tree_is_in_the_plan() -> None:
    done = roll_back(ROOT, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"would be removed  {PLAN}\n" in done.stdout


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda tree: (tree / "videoqueue" / "new.py").touch(),
            "forgotten: 'videoqueue/new.py' is in no list",
        ),
        (lambda tree: (tree / "Procfile").unlink(), "'Procfile' is not there any more"),
        (
            lambda tree: change(tree, PLAN, '"LICENSE",\n', '"LICENSE",\n    "Procfile",\n'),
            "'Procfile' is in remove and in stay",
        ),
        (
            lambda tree: change(tree, "pyproject.toml", '    "av', '    "celery>=5",\n    "av'),
            "has to say of the dependency 'celery' whether it is removed or stays",
        ),
        (
            lambda tree: change(tree, "pyproject.toml", "Framework :: Flask", "Framework :: Pyramid"),
            "pyproject.toml has '\\n    \"Framework :: Flask\",' 0 times, not once",
        ),
        (
            lambda tree: change(tree, "videoqueue/settings/loading.py", "def shown(", "def displayed("),
            "videoqueue/settings/loading.py does not define shown",
        ),
    ],
    ids=[
        "new file",
        "file gone",
        "file in two lists",
        "new dependency",
        "edit without place",
        "definition gone",
    ],
)
def test_a_tree_that_the_plan_does_not_fit_is_left_alone(spoil: Any, said: str, tmp_path: Path) -> None:
    tree = copy_of_the_tree(tmp_path)
    spoil(tree)
    before = files_in(tree)
    done = roll_back(tree)
    assert done.returncode == 1
    assert said in done.stderr
    assert files_in(tree) == before


def change(tree: Path, file: str, old: str, new: str) -> None:
    text = (tree / file).read_text()
    assert text.count(old) == 1
    (tree / file).write_text(text.replace(old, new))


def test_uncommitted_changes_stop_it(tmp_path: Path) -> None:
    tree = copy_of_the_tree(tmp_path)
    subprocess.run(["git", "init", "--quiet"], cwd=tree, check=True)
    before = files_in(tree)
    done = roll_back(tree)
    assert done.returncode == 1
    assert done.stderr.startswith("rollback: there are uncommitted changes")
    assert files_in(tree) == before


def test_only_what_the_plan_names_is_touched(rolled_back: Path) -> None:
    before, after = files_in(copy_of_the_tree(rolled_back.with_name("before"))), files_in(rolled_back)
    removed = before.keys() - after.keys()
    assert [file for file in removed if not any(covers(name, file) for name in LISTS["remove"])] == []
    assert [file for file in after if any(covers(name, file) for name in LISTS["remove"])] == []
    assert after.keys() - before.keys() <= LISTS["whole"].keys()
    changes = {
        "pyproject.toml",
        *LISTS["whole"],
        *LISTS["edit"],
        *LISTS["definitions"],
        *LISTS["requirements"],
    }
    assert {file for file in after if after[file] != before.get(file)} <= changes
    assert [
        folder for folder in rolled_back.rglob("*") if folder.is_dir() and not any(folder.iterdir())
    ] == []


def test_a_video_is_processed_as_before(rolled_back: Path, without_packages: Path) -> None:
    command = ["-m", "videoqueue.cli", "process", SAMPLE, "--frame-stride", "20"]
    before, after = run(ROOT, *command), run(rolled_back, *command, path=without_packages)
    assert after.returncode == 0, after.stderr
    assert len(json.loads(after.stdout)["results"]) == 4
    assert after.stdout == before.stdout


def test_the_pipelines_are_valid(rolled_back: Path, without_packages: Path) -> None:
    done = run(rolled_back, "-m", "videoqueue.cli", "validate", "pipelines", path=without_packages)
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout
        == "ok ocr_only: ocr.read\nok yolo_ocr: yolo.detect, ocr.read\nok yolo_only: yolo.detect\n"
    )


def test_the_tests_of_the_pipeline_pass(rolled_back: Path, without_packages: Path) -> None:
    tests = ["tests/unit/pipeline", "tests/unit/test_imports.py"]
    options = ["-q", "-p", "no:cacheprovider", "-p", "first_tests"]
    done = run(rolled_back, "-m", "pytest", *options, *tests, path=without_packages)
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout.splitlines()[-1]


def test_what_is_left_is_clean(rolled_back: Path) -> None:
    for command in ("ruff check .", "ruff format --check .", f"mypy --cache-dir {os.devnull}"):
        done = run(rolled_back, "-m", *command.split())
        assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_left_needs_exactly_its_dependencies(rolled_back: Path) -> None:
    owners = packages_distributions()
    package = rolled_back / "videoqueue"
    used: set[str] = set()
    for module in imported_modules(package):
        top = module.partition(".")[0]
        if top == "videoqueue":
            path = rolled_back / module.replace(".", "/")
            assert path.is_dir() or path.with_suffix(".py").is_file(), f"{module} is gone but imported"
        elif top not in sys.stdlib_module_names:
            used |= normalized(owners[top])
    project = tomllib.loads((rolled_back / "pyproject.toml").read_text())["project"]
    assert used == {bare(item) for item in project["dependencies"]}


def imported_modules(folder: Path) -> Iterator[str]:
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield str(node.module)


def bare(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement)[0]


def test_the_pinned_requirements_are_those_of_what_is_left(rolled_back: Path) -> None:
    """Each is needed by another that is pinned or by the project itself, down to the project."""
    for name in ("requirements.txt", "requirements-dev.txt"):
        before, after = (pinned((tree / name).read_text()) for tree in (ROOT, rolled_back))
        assert after.items() <= before.items(), "a pin has changed"
        gone = normalized(LISTS["dependencies"]["remove"]) - {"requests", "pyyaml"}
        assert gone & {package for package, _ in after} == set()
        stay = {package for package, _ in before} & set(LISTS["dependencies"]["stay"])
        assert stay <= {package for package, _ in after}


def pinned(text: str) -> dict[tuple[str, str], list[str]]:
    """Hashes by package and the rest of its line."""
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    return {
        (block.partition("==")[0], block.splitlines()[0]): re.findall(r"--hash=\S+", block)
        for block in blocks
    }


def test_nothing_left_mentions_what_went(rolled_back: Path) -> None:
    words = [file for file in LISTS["remove"] if not file.endswith("__init__.py")]
    words += ["PHASE_16", "Procfile", "migrations", "videoqueue up", "videoqueue submit", "videoqueue jobs"]
    texts = {name: data.decode(errors="replace") for name, data in files_in(rolled_back).items()}
    assert [(name, word) for name, text in texts.items() for word in words if word in text] == []


def test_the_settings_left_are_those_of_the_pipeline_and_documented(rolled_back: Path) -> None:
    code = "from videoqueue.settings import load_settings; print(load_settings({}).pipeline_options)"
    before, after = run(ROOT, "-c", code), run(rolled_back, "-c", code)
    assert after.returncode == 0, after.stderr
    assert after.stdout == before.stdout
    table = run(rolled_back, "-m", "videoqueue.cli", "settings", "--markdown").stdout
    page = (rolled_back / "docs" / "settings.md").read_text()
    assert [line for line in page.splitlines() if line.startswith("|")] == table.splitlines()


def test_links_of_the_pages_left_resolve(rolled_back: Path) -> None:
    for page in [*rolled_back.glob("*.md"), *rolled_back.glob("docs/*.md")]:
        links = re.findall(r"\]\(([^)#]+)[^)]*\)|^\[[^]]+\]: (.*)$", page.read_text(), re.MULTILINE)
        targets = [inline or reference for inline, reference in links]
        assert [link for link in targets if "://" not in link and not (page.parent / link).exists()] == []


def test_every_error_left_stands_in_the_tree_of_errors(rolled_back: Path) -> None:
    module = ast.parse((rolled_back / "videoqueue" / "errors.py").read_text())
    classes = {node.name for node in module.body if isinstance(node, ast.ClassDef)}
    assert set(re.findall(r"\w+Error", ast.get_docstring(module) or "")) == classes


@pytest.mark.parametrize(
    ("status", "waits"), [("pending", True), ("running", True), ("completed", False), ("failed", False)]
)
def test_draining_waits_for_jobs_that_have_not_ended(
    services: Services, tmp_path: Path, status: str, waits: bool
) -> None:
    store = services.store
    new = new_job()
    claim = None if status == "pending" else store.claim(store.create(new)[0], "host:1")
    if claim is None:
        store.create(new)
    elif status == "completed":
        store.complete(claim, "0" * 64)
    elif status == "failed":
        store.fail(claim, 'It says "status": "running".')
    given = {"VIDEOQUEUE_DATA_DIR": services.settings.data_dir}
    done = bash("sleep() { exit 42; }\n" + block("drain"), tmp_path, given)
    assert done.returncode == (42 if waits else 0), done.stderr


@pytest.fixture
def service(redis_url: str, tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path / "data", {"REDIS_URL": redis_url})
    service.start()
    yield service
    service.stop()


def test_data_is_drained_exported_and_removed(service: Service, redis_url: str, tmp_path: Path) -> None:
    videos = [make_video(tmp_path / f"{number}.mp4", f"HELLO {number}") for number in range(2)]
    good = [submit(service.url, video) for video in videos]
    bad = submit(service.url, spoil_samples(make_video(tmp_path / "bad.mp4")))
    exported = tmp_path / "exported"
    exported.mkdir()
    given = {
        "VIDEOQUEUE_DATA_DIR": str(service.folder),
        "REDIS_URL": redis_url,
        "VIDEOQUEUE_URL": service.url,
    }

    carry_out("drain", exported, given)
    carry_out("export", exported, given)
    jobs = {job["job_id"]: job for job in json.loads((exported / "jobs.json").read_text())}
    assert {job_id: job["status"] for job_id, job in jobs.items()} == {
        **dict.fromkeys(good, "completed"),
        bad: "failed",
    }
    assert "cannot be decoded" in jobs[bad]["error_message"]
    answers = {
        job_id: requests.get(f"{service.url}/video/results/{job_id}", timeout=10).content for job_id in good
    }
    assert {file.stem: file.read_bytes() for file in exported.glob("*-*.json")} == answers
    alone = run(ROOT, "-m", "videoqueue.cli", "process", videos[0])
    assert json.loads(answers[good[0]])["results"] == json.loads(alone.stdout)["results"]

    service.stop()
    objects = service.folder / "objects"
    assert sum(file.is_file() for file in objects.rglob("*")) == 3
    carry_out("remove", exported, given)
    assert [file for file in objects.rglob("*") if file.is_file()] == []
    with sqlite3.connect(service.folder / "videoqueue.db") as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        assert tables == [("alembic_version",)]
        assert database.execute("SELECT count(*) FROM alembic_version").fetchone() == (0,)
    database.close()


def carry_out(name: str, folder: Path, settings: dict[str, str]) -> None:
    """Runs a block of the page as it stands there."""
    done = bash(block(name), folder, settings)
    assert done.returncode == 0, done.stderr


def block(name: str) -> str:
    (script,) = re.findall(rf"^```bash {name}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(script)


def bash(script: str, folder: Path, settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
