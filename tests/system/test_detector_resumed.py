"""A job of the built-in detector whose worker is killed, and which goes on with another number of threads."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests

import videoqueue
from tests.support.stack import Service, eventually, submit, wait_for
from videoqueue.jobs.results import encode
from videoqueue.pipeline.service import build_service
from videoqueue.pipeline_options import PipelineOptions

SAMPLE = Path(videoqueue.__file__).parent / "cli" / "sample.mp4"
LAST_FRAME = 69


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    folder = tmp_path / "failpoints"
    folder.mkdir()
    return folder


@pytest.fixture
def service(tmp_path: Path, redis_url: str, orders: Path) -> Iterator[Service]:
    """It commits almost every frame on its own, and takes a job from a dead worker within a moment."""
    settings = {
        "REDIS_URL": redis_url,
        "VIDEOQUEUE_STORAGE_URL": f"file://{tmp_path}/objects",
        "VIDEOQUEUE_FAILPOINTS_DIR": str(orders),
        "VIDEOQUEUE_CHECKPOINT_SECONDS": "0.01",
        "VIDEOQUEUE_LEASE_SECONDS": "2",
        "VIDEOQUEUE_RENEW_SECONDS": "0.5",
        "VIDEOQUEUE_SWEEP_SECONDS": "0.5",
        "VIDEOQUEUE_INFERENCE_THREADS": "1",
    }
    service = Service(tmp_path / "service", settings)
    service.start()
    yield service
    service.stop()


def test_detections_are_the_same_bytes_after_a_kill_and_with_any_number_of_threads(
    service: Service, orders: Path
) -> None:
    order = orders / "worker.chunk_committed"
    order.write_text("kill @3")
    job_id = submit(service.url, SAMPLE, pipeline_id="yolo_only")
    eventually(lambda: not order.exists(), "the worker was killed in the middle")
    service.wait_for_end("worker")
    before = committed_chunks(service)

    service.start_process("worker", {"VIDEOQUEUE_INFERENCE_THREADS": "4"})
    wait_for(service.url, job_id, "completed")

    assert before[-1][0] < LAST_FRAME
    assert committed_chunks(service)[: len(before)] == before
    assert f"job_id={job_id} attempt=2" in service.log("worker")
    found = results_array(service, job_id)
    assert b'"label":' in found
    for threads in (1, 2, 4):
        pipeline = build_service(PipelineOptions(inference_threads=threads))
        undisturbed = encode(pipeline.run_on_file(SAMPLE, "yolo_only"))
        assert found == b"[%s]" % undisturbed


def committed_chunks(service: Service) -> list[tuple[int, bytes]]:
    """Last frame and results of each chunk of the only job."""
    (database,) = service.folder.glob("*.db")
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("SELECT last_index, payload FROM result_chunk ORDER BY seq").fetchall()


def results_array(service: Service, job_id: str) -> bytes:
    response = requests.get(f"{service.url}/video/results/{job_id}", timeout=10)
    assert response.status_code == 200
    return response.content[response.content.index(b"[") : response.content.rindex(b"]") + 1]
