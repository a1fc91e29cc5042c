"""`videoqueue up` on a disk of 96 MB that uploads fill: accepted jobs complete, and deletion makes room."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.serving import padded, post_raw
from tests.support.small_volume import on_small_volume
from tests.support.stack import ROOT, environment, eventually, family, free_port, wait_for, wait_until_gone
from tests.support.videos import make_video

MB = 1024**2
SIZE = 96 * MB


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A service whose data folder is such a disk."""
    data, log, port = tmp_path / "data", tmp_path / "up.log", free_port()
    data.mkdir(mode=0o700)
    command = [sys.executable, "-m", "videoqueue.cli", "up", "--data-dir", str(data)]
    command, variables = on_small_volume(command, data, SIZE, tmp_path)
    with log.open("wb") as output:
        up = subprocess.Popen(
            command,
            env=environment(
                {"PYTHONPATH": str(ROOT), "PORT": str(port), "VIDEOQUEUE_AUTH": "off"} | variables
            ),
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        eventually(lambda: b"videoqueue is ready at" in log.read_bytes(), "up is ready")
        yield f"http://127.0.0.1:{port}"
    finally:
        everything = family(up.pid)
        os.kill(up.pid, signal.SIGTERM)
        up.wait(40)
        wait_until_gone(everything)


def degraded(url: str) -> list[str]:
    found: dict[str, Any] = requests.get(f"{url}/readyz", timeout=30).json()
    assert found["status"] == "ready"
    reasons: list[str] = found["degraded"]
    return reasons


def test_every_job_that_was_accepted_on_a_full_disk_completes_and_deletion_makes_room(
    url: str, tmp_path: Path
) -> None:
    video = make_video(tmp_path / "v.mp4").read_bytes()
    accepted = []
    for size in (50 * MB, 4 * MB):
        while (answer := post_raw(url, padded(video, size))).status_code == 202:
            accepted.append((size, answer.json()["job_id"]))
        assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
        assert "VIDEOQUEUE_RESERVE_BYTES" in answer.json()["detail"]
    total = sum(size for size, _ in accepted)
    assert SIZE * 3 // 4 - 12 * MB < total <= SIZE * 3 // 4
    assert "storage_full" in degraded(url)
    for _, job_id in accepted:
        assert wait_for(url, job_id, "completed", "failed", seconds=300)["status"] == "completed"
        assert requests.get(f"{url}/video/results/{job_id}", timeout=30).status_code == 200
    (_, largest), *_ = accepted
    assert requests.delete(f"{url}/jobs/{largest}", timeout=30).status_code == 204
    eventually(lambda: "storage_full" not in degraded(url), "there is room again")
    again = post_raw(url, padded(video, 40 * MB))
    assert again.status_code == 202
    assert wait_for(url, again.json()["job_id"], "completed", "failed", seconds=300)["status"] == "completed"
