"""Web and worker refuse to start, in one line that says what to set."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from stack import ROOT, environment, procfile


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
    ],
    ids=["no-queue", "bad-value", "local-folder"],
)
def test_a_setting_that_would_lose_jobs_stops_the_start(
    tmp_path: Path, process: str, settings: dict[str, str], says: str
) -> None:
    environ = environment({"VIDEOQUEUE_DATA_DIR": str(tmp_path)} | settings)
    done = subprocess.run(
        ["bash", "-c", procfile()[process]],
        env=environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    line = next(line for line in done.stderr.splitlines() if line.startswith("videoqueue: "))
    assert line.startswith(says)
    assert "Traceback" not in done.stderr


def test_an_unknown_default_pipeline_stops_the_start(tmp_path: Path) -> None:
    settings = {
        "VIDEOQUEUE_DATA_DIR": str(tmp_path),
        "REDIS_URL": "redis://127.0.0.1",
        "VIDEOQUEUE_DEFAULT_PIPELINE": "nope",
    }
    done = subprocess.run(
        ["bash", "-c", procfile()["release"]],
        env=environment(settings),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "VIDEOQUEUE_DEFAULT_PIPELINE='nope' cannot be used: it takes one of ocr_only" in done.stderr
