"""A job whose worker dies, and whose next worker has another version of a plugin: nothing is mixed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import requests

from tests.chaos.workplace import Workplace
from tests.support.stack import Service, eventually, submit, wait_for
from tests.support.videos import make_video


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path / "venv")


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    folder = tmp_path / "failpoints"
    folder.mkdir()
    return folder


@pytest.fixture(params=["sqlite", "postgres"])
def service(
    request: pytest.FixtureRequest, tmp_path: Path, redis_url: str, workplace: Workplace, orders: Path
) -> Iterator[Service]:
    """Its jobs take a tenth of a second a frame, and are taken from a dead worker within a moment."""
    settings = {
        "REDIS_URL": redis_url,
        "VIDEOQUEUE_STORAGE_URL": f"file://{tmp_path}/objects",
        "VIDEOQUEUE_DEFAULT_PIPELINE": "slow",
        "VIDEOQUEUE_FAILPOINTS_DIR": str(orders),
        "VIDEOQUEUE_CHECKPOINT_SECONDS": "0.2",
        "VIDEOQUEUE_LEASE_SECONDS": "2",
        "VIDEOQUEUE_RENEW_SECONDS": "0.5",
        "VIDEOQUEUE_SWEEP_SECONDS": "0.5",
    }
    if request.param == "postgres":
        server: str = request.getfixturevalue("postgres_server")
        name = f"versions_{uuid.uuid4().hex}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        settings["DATABASE_URL"] = server.replace("/postgres?", f"/{name}?")
    service = Service(tmp_path / "service", settings | workplace.environ)
    service.start()
    yield service
    service.stop()


def test_a_job_that_resumes_under_another_version_is_made_anew(
    service: Service, workplace: Workplace, orders: Path, tmp_path: Path
) -> None:
    video = make_video(tmp_path / "v.mp4", frames=20)
    (orders / "worker.chunk_committed").write_text("kill @2")
    job_id = submit(service.url, video)
    eventually(
        lambda: not (orders / "worker.chunk_committed").exists(), "the worker was killed in the middle"
    )
    service.wait_for_end("worker")

    workplace.edit_plugin('Manifest("chaos", "1.0"', 'Manifest("chaos", "2.0"')
    workplace.edit_plugin("else digest}", 'else "by 2.0: " + digest}')
    service.start_process("worker")
    wait_for(service.url, job_id, "completed")
    undisturbed = submit(service.url, video)
    wait_for(service.url, undisturbed, "completed")

    found = results_array(service, job_id)
    assert found == results_array(service, undisturbed)
    assert found.count(b"by 2.0: ") == 20
    assert f"job_id={job_id} attempt=2" in service.log("worker")


def results_array(service: Service, job_id: str) -> bytes:
    """The results as bytes; what is before and behind them has the id and times of the job."""
    answer = requests.get(f"{service.url}/video/results/{job_id}", timeout=10)
    assert answer.status_code == 200
    return answer.content[answer.content.index(b"[") : answer.content.rindex(b"]") + 1]
