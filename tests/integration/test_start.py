"""Web and worker refuse to start, in one line that says what to set."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.stack import ROOT, environment, folder_of_another_user, free_port, procfile


def start(process: str, settings: dict[str, str], *prelude: str) -> subprocess.CompletedProcess[str]:
    """Runs the Procfile's line to its end, behind a command that changes what the system offers."""
    return subprocess.run(
        [*prelude, "bash", "-c", procfile()[process]],
        env=environment(settings),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("process", ["web", "worker", "release"])
@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "videoqueue: REDIS_URL is not set"),
        ({"REDIS_URL": "nonsense"}, "videoqueue: REDIS_URL='nonsense' cannot be used: REDIS_URL takes a URL"),
        (
            {"REDIS_URL": "redis://127.0.0.1", "DATABASE_URL": "postgres://h/d"},
            "videoqueue: VIDEOQUEUE_STORAGE_URL is not set",
        ),
        (
            {"REDIS_URL": "redis://127.0.0.1", "DATABASE_URL": "postgres://u:xyzzy@h:notaport/d"},
            "videoqueue: DATABASE_URL='postgres://...' cannot be used: ",
        ),
        (
            {"REDIS_URL": "redis://:xyzzy@xyzzy@h:6379", "DATABASE_URL": "sqlite:///d"},
            "videoqueue: REDIS_URL='redis://...' cannot be used: ",
        ),
    ],
    ids=["no-queue", "bad-value", "local-folder", "bad-port", "unescaped-password"],
)
def test_a_setting_that_would_lose_jobs_stops_the_start(
    tmp_path: Path, process: str, settings: dict[str, str], says: str
) -> None:
    done = start(process, {"VIDEOQUEUE_DATA_DIR": str(tmp_path)} | settings)
    assert done.returncode != 0
    line = next(line for line in done.stderr.splitlines() if line.startswith("videoqueue: "))
    assert line.startswith(says)
    assert "Traceback" not in done.stderr
    assert "xyzzy" not in done.stderr


@pytest.mark.parametrize("process", ["web", "worker", "release"])
def test_a_data_folder_of_another_user_stops_the_start(tmp_path: Path, process: str) -> None:
    folder = folder_of_another_user(tmp_path / "theirs")
    done = start(process, {"VIDEOQUEUE_DATA_DIR": str(folder), "REDIS_URL": "redis://127.0.0.1"})
    assert done.returncode != 0
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("videoqueue: "))
    assert line.startswith("videoqueue: The data folder (VIDEOQUEUE_DATA_DIR) cannot be used: ")
    assert f"{folder} belongs to the user " in line
    assert "Traceback" not in done.stderr


FAULTS_OF_THE_APPLICATION = {
    "default pipeline": (
        {"VIDEOQUEUE_DEFAULT_PIPELINE": "nope"},
        "videoqueue: VIDEOQUEUE_DEFAULT_PIPELINE='nope' cannot be used: it takes one of ocr_only",
    ),
    "AWS profile": (
        {"VIDEOQUEUE_STORAGE_URL": "s3://bucket/prefix", "AWS_PROFILE": "nobody"},
        "videoqueue: ",
    ),
    "data folder": (
        {"VIDEOQUEUE_DATA_DIR": "/proc/no/folder"},
        "videoqueue: A file or folder cannot be used: ",
    ),
}


@pytest.mark.parametrize("process", ["web", "worker", "release"])
@pytest.mark.parametrize("fault", FAULTS_OF_THE_APPLICATION)
def test_a_fault_that_only_the_application_finds_stops_the_start(
    tmp_path: Path, process: str, fault: str
) -> None:
    settings, says = FAULTS_OF_THE_APPLICATION[fault]
    usable = {
        "VIDEOQUEUE_DATA_DIR": str(tmp_path),
        "REDIS_URL": "redis://127.0.0.1",
        "PORT": str(free_port()),
    }
    done = start(process, usable | settings)
    assert done.returncode == (3 if process == "web" else 1)
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("videoqueue: "))
    assert line.startswith(says)
    assert "Traceback" not in done.stderr
    assert done.stderr.count("Booting worker with pid") == (process == "web")


def test_memory_too_low_for_the_models_stops_the_worker_with_the_number_needed(tmp_path: Path) -> None:
    settings = {
        "VIDEOQUEUE_DATA_DIR": str(tmp_path),
        "REDIS_URL": "redis://127.0.0.1",
        "VIDEOQUEUE_SANDBOX_MEMORY_BYTES": str(512 * 1024**2),
    }
    done = start("worker", settings)
    assert done.returncode != 0
    (line,) = {line for line in done.stderr.splitlines() if line.startswith("videoqueue: ")}
    assert line.startswith("videoqueue: VIDEOQUEUE_SANDBOX_MEMORY_BYTES=536870912 is too low")
    assert "Set it to at least 838860800" in line
    assert "Traceback" not in done.stderr


def test_a_pipeline_that_cannot_run_stops_the_worker_with_a_line_for_each_fault(tmp_path: Path) -> None:
    node = {"id": "look", "plugin": "telescope", "tool": "zoom"}
    ends = {"entry_nodes": ["look"], "output_nodes": ["look"]}
    definition = {"id": "far", "description": "", "nodes": [node], "edges": [], **ends}
    (tmp_path / "far.json").write_text(json.dumps(definition))
    settings = {
        "VIDEOQUEUE_DATA_DIR": str(tmp_path / "data"),
        "REDIS_URL": "redis://127.0.0.1",
        "VIDEOQUEUE_PIPELINES_DIR": str(tmp_path),
    }
    done = start("worker", settings)
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("videoqueue: ")]
    assert len(lines) == 1
    assert "far.json" in lines[0]
    assert "There is no plugin 'telescope'" in lines[0]
    assert "each=18 worker_processes=1 sum=18" in done.stderr  # the connections it would have
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("setting", "says"),
    [("YOLO_MODEL", "mine.onnx"), ("OCR_RECOGNIZER", "The text recognizer mine.onnx cannot be used: ")],
)
def test_a_model_that_cannot_be_used_stops_the_worker_and_says_why(
    tmp_path: Path, setting: str, says: str
) -> None:
    model = tmp_path / "mine.onnx"
    model.write_text("not a model")
    settings = {
        "VIDEOQUEUE_DATA_DIR": str(tmp_path / "data"),
        "REDIS_URL": "redis://127.0.0.1",
        f"VIDEOQUEUE_{setting}": str(model),
    }
    done = start("worker", settings)
    assert done.returncode != 0
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("videoqueue: "))
    assert says in line
    assert "Traceback" not in done.stderr


def test_a_data_folder_in_which_nothing_can_be_made_stops_the_worker(tmp_path: Path) -> None:
    (tmp_path / "work").touch()
    done = start("worker", {"VIDEOQUEUE_DATA_DIR": str(tmp_path), "REDIS_URL": "redis://127.0.0.1"})
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("videoqueue: ")]
    assert lines == [
        "videoqueue: VIDEOQUEUE_DATA_DIR cannot be used: the worker cannot make its work folder there "
        "(File exists). It takes a folder in which the worker can write files."
    ]
    assert "Traceback" not in done.stderr


def test_a_data_folder_that_cannot_be_made_stops_the_worker(tmp_path: Path) -> None:
    folder = tmp_path / "file" / "data"
    folder.parent.touch()
    done = start("worker", {"VIDEOQUEUE_DATA_DIR": str(folder), "REDIS_URL": "redis://127.0.0.1"})
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("videoqueue: ")]
    assert lines == [
        f"videoqueue: A file or folder cannot be used: ENOTDIR: Not a directory ({folder}). "
        "Look at VIDEOQUEUE_DATA_DIR and VIDEOQUEUE_PIPELINES_DIR."
    ]
    assert "Traceback" not in done.stderr


SAMPLE = ROOT / "videoqueue" / "cli" / "sample.mp4"
WITHOUT_LANDLOCK = """
import errno, os, sys
from videoqueue.sandbox import seccomp
from videoqueue.sandbox.kernel import no_new_privileges
no_new_privileges()
missing = [(0x15, 0, 1, number) for number in (444, 445, 446)]
refuse = (0x06, 0, 0, 0x00050000 | errno.ENOSYS)
tests = [part for test in missing for part in (test, refuse)]
seccomp.install([(0x20, 0, 0, 0), *tests, (0x06, 0, 0, 0x7FFF0000)])
os.execvp(sys.argv[1], sys.argv[1:])
"""


def test_a_required_sandbox_stops_the_command_that_processes_a_file(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_LANDLOCK, sys.executable, "-m", "videoqueue", "process", str(SAMPLE)],
        env=environment({"VIDEOQUEUE_DATA_DIR": str(tmp_path), "VIDEOQUEUE_SANDBOX": "required"}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("videoqueue: VIDEOQUEUE_SANDBOX=required cannot be used: the kernel has no")
    assert done.stderr.count("\n") == 1


def test_a_required_sandbox_stops_the_worker_on_a_kernel_without_landlock(tmp_path: Path) -> None:
    settings = {
        "VIDEOQUEUE_DATA_DIR": str(tmp_path),
        "REDIS_URL": "redis://127.0.0.1",
        "VIDEOQUEUE_SANDBOX": "required",
    }
    done = start("worker", settings, sys.executable, "-c", WITHOUT_LANDLOCK)
    assert done.returncode != 0
    (line,) = {line for line in done.stderr.splitlines() if line.startswith("videoqueue: ")}
    assert line == (
        "videoqueue: VIDEOQUEUE_SANDBOX=required cannot be used: the kernel has no Landlock (Linux 5.13 or "
        "later, with landlock among the security modules: boot option lsm=), or the container forbids it. "
        "Provide it, or set VIDEOQUEUE_SANDBOX=auto to work with less."
    )
    assert "Traceback" not in done.stderr
