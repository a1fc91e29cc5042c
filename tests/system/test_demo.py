"""`videoqueue demo` works whatever the environment says about keys."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.leaks import ADMIN_KEY
from tests.support.stack import ROOT, environment


@pytest.mark.parametrize(
    "settings",
    [
        {"VIDEOQUEUE_AUTH": "required", "VIDEOQUEUE_API_KEY": "vq_of_another_service"},
        {
            "VIDEOQUEUE_ADMIN_KEY": ADMIN_KEY,
            "VIDEOQUEUE_TRUSTED_PROXIES": "1",
            "VIDEOQUEUE_OWNER_HEADER": "X-Remote-User",
            "VIDEOQUEUE_ALLOWED_HOSTS": "videos.example.com",
        },
    ],
    ids=["required", "behind-a-proxy"],
)
def test_the_demo_shows_the_results_of_the_sample(tmp_path: Path, settings: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "videoqueue.cli", "demo"],
        env=environment({"PYTHONPATH": str(ROOT)} | settings),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "Texts and [objects] by time:" in done.stdout) == (0, True), done.stderr
    assert re.search(r"0\.\d\d s - +\d\.\d\d s   \w", done.stdout), done.stdout
