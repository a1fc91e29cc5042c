"""Submit -> poll -> results through real processes: Procfile, queue, database, storage."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from tests.support.s3_server import BUCKET, s3_server
from tests.support.stack import ROOT, SMOKE_TEST, Service, results, submit, wait_for
from tests.support.videos import make_video, spoil_samples


@pytest.fixture(scope="module", params=["sqlite-folder", "postgres-s3"])
def service(
    request: pytest.FixtureRequest, valkey_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "sqlite-folder":
        yield from running(Service(folder, {"REDIS_URL": f"{valkey_server[:-1]}1"}))
        return
    server: str = request.getfixturevalue("postgres_server")
    name = f"system_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    with s3_server() as s3:
        yield from running(
            Service(
                folder,
                {
                    "REDIS_URL": f"{valkey_server[:-1]}2",
                    "DATABASE_URL": server.replace("/postgres?", f"/{name}?"),
                    "VIDEOQUEUE_STORAGE_URL": f"s3://{BUCKET}/jobs",
                    **s3.environ,
                },
            )
        )


def running(service: Service) -> Iterator[Service]:
    service.release()
    service.start()
    yield service
    service.stop()


def test_the_smoke_test_passes(service: Service) -> None:
    done = subprocess.run(
        [sys.executable, SMOKE_TEST, service.url, "--seconds", "120"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr + service.log("worker")
    assert "completed" in done.stdout


def test_what_is_written_in_the_frames_is_read(service: Service, tmp_path: Path) -> None:
    job_id = submit(service.url, make_video(tmp_path / "v.mp4", "HELLO 42", frames=4), frame_stride=2)
    assert wait_for(service.url, job_id, "completed", "failed")["status"] == "completed"
    items = results(service.url, job_id)
    assert [item["frame_index"] for item in items] == [0, 2]
    assert [item["result"]["timestamp"] for item in items] == [0.0, 0.2]
    assert all(item["result"]["text"] == "HELLO 42" for item in items)


def test_a_raw_body_with_query_parameters_is_the_same(service: Service, tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4", frames=3)
    answer = requests.post(
        f"{service.url}/video/submit?max_frames=1",
        data=video.read_bytes(),
        headers={"Content-Type": "video/mp4"},
        timeout=30,
    )
    job_id = answer.json()["job_id"]
    assert answer.headers["Location"] == f"/video/status/{job_id}"
    assert wait_for(service.url, job_id, "completed", "failed")["status"] == "completed"
    assert [item["frame_index"] for item in results(service.url, job_id)] == [0]


def test_an_undecodable_video_fails_with_a_reason_and_the_next_job_runs(
    service: Service, tmp_path: Path
) -> None:
    bad = submit(service.url, spoil_samples(make_video(tmp_path / "bad.mp4", frames=5)))
    good = submit(service.url, make_video(tmp_path / "good.mp4"))
    failed = wait_for(service.url, bad, "completed", "failed")
    assert failed["status"] == "failed"
    assert "cannot be decoded" in str(failed["error_message"])
    assert wait_for(service.url, good, "completed", "failed")["status"] == "completed"


def test_the_readmes_curl_lines_work_as_printed(service: Service) -> None:
    """Word for word, except for the address and the job id that the first line returns."""
    text = (ROOT / "README.md").read_text()
    lines = [line.strip() for line in text.splitlines() if line.startswith("    curl ")]
    assert len(lines) == 3
    job_id = ""
    for line in lines:
        command = line.replace("localhost:8000", service.url).replace("JOB_ID", job_id)
        done = subprocess.run(["bash", "-c", f"{command} -sS"], cwd=ROOT, capture_output=True, check=True)
        answer = json.loads(done.stdout)
        job_id = job_id or answer["job_id"]
        wait_for(service.url, job_id, "completed", "failed")
    (shown,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    printed = json.loads(shown)
    assert list(printed) == list(answer)
    assert _shape(printed["results"][0]) == _shape(answer["results"][0])
    assert "Chelsea the cat" in {
        line for item in answer["results"] for line in item["result"]["text"].splitlines()
    }


def _shape(value: Any) -> Any:
    """Returns the value with each number as None: confidences and boxes depend on the processor."""
    if isinstance(value, dict):
        return [(name, _shape(inner)) for name, inner in value.items()]
    if isinstance(value, list):
        return [_shape(inner) for inner in value]
    return value if isinstance(value, str) else None
