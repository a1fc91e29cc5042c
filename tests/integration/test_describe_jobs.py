"""`GET /jobs/{job_id}`: what a job in each state is described with."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from tests.support.jobs_in_states import VIDEO, app, claimed, job_in, submitted
from tests.support.records import stored
from videoqueue.api.extension import services_of
from videoqueue.jobs.results import encode
from videoqueue.jobs.tables import JOB, OWNER_STATE
from videoqueue.jobs.types import NOBODY
from videoqueue.services import Services

__all__ = ["app"]


def test_a_pending_job_is_described_with_what_it_waits_for(client: FlaskClient, services: Services) -> None:
    job_id = submitted(services, frame_stride=3, max_frames=9, name="match.mp4")
    response = client.get(f"/jobs/{job_id}")
    assert (response.headers["Retry-After"], response.headers["Cache-Control"]) == ("1", "no-store")
    job = response.get_json()
    row = stored(services.store, job_id)
    status = client.get(f"/video/status/{job_id}").get_json()
    assert job == status | {
        "name": "match.mp4",
        "pipeline_id": "ocr_only",
        "frame_stride": 3,
        "max_frames": 9,
        "pipeline_version": None,
        "video": {
            "bytes": 7,
            "sha256": row.input_sha256,
            "width": None,
            "height": None,
            "fps": None,
            "duration": None,
            "codec": None,
        },
        "attempt": 0,
        "failures": 0,
        "crashes": 0,
        "waiting_for": "worker",
        "error_code": None,
        "damaged_frames": None,
        "result_bytes": None,
        "started_at": None,
        "finished_at": None,
        "expires_at": None,
    }


def test_a_completed_job_is_described_with_its_video_and_the_size_of_its_results(
    client: FlaskClient, services: Services
) -> None:
    job_id = job_in(services, "completed")
    response = client.get(f"/jobs/{job_id}")
    assert "Retry-After" not in response.headers
    job = response.get_json()
    facts = vars(VIDEO) | {"bytes": 7, "sha256": stored(services.store, job_id).input_sha256}
    assert job["damaged_frames"] == facts.pop("damaged_frames")
    assert job["video"] == facts
    results = client.get(f"/video/results/{job_id}").data
    array = results[results.index(b"[") : results.rindex(b"]") + 1]
    assert job["result_bytes"] == len(array)
    assert job["waiting_for"] is None
    assert job["finished_at"] == job["updated_at"] > job["started_at"]


def test_a_failed_job_is_described_with_its_error(client: FlaskClient, services: Services) -> None:
    job = client.get(f"/jobs/{job_in(services, 'failed')}").get_json()
    assert (job["error_code"], job["error_message"]) == ("truncated_mp4", "It ends early.")
    assert (job["result_bytes"], job["attempt"]) == (None, 1)


@pytest.mark.parametrize(("days", "expires"), [(30, True), (0, False)])
def test_an_ended_job_says_when_it_is_removed(
    start_app: Callable[..., Flask], days: int, expires: bool
) -> None:
    app = start_app(retention_days=days)
    services, client = services_of(app), app.test_client()
    job_id = job_in(services, "failed")
    with services.engine.begin() as connection:
        connection.execute(sa.update(JOB).values(finished_at=1_000_000))
    expected = "1970-01-31T00:00:01.000000Z" if expires else None
    assert client.get(f"/jobs/{job_id}").get_json()["expires_at"] == expected


def test_a_job_waits_for_the_pause_after_a_failure_or_for_a_worker(
    client: FlaskClient, services: Services
) -> None:
    job_id = submitted(services)
    claim = services.store.claim(job_id, "host:1")
    assert claim is not None
    running = client.get(f"/jobs/{job_id}").get_json()
    assert (running["waiting_for"], running["attempt"]) == (None, 1)
    services.store.release(claim, "failures", "The storage is away.", delay=600)
    waits = client.get(f"/jobs/{job_id}").get_json()
    assert (waits["waiting_for"], waits["failures"], waits["error_message"]) == ("retry", 1, None)
    with services.engine.begin() as connection:
        connection.execute(sa.update(JOB).values(run_after=0))
    assert client.get(f"/jobs/{job_id}").get_json()["waiting_for"] == "worker"


@pytest.mark.parametrize(("limit", "waits_for"), [(1, "owner_limit"), (2, "worker"), (0, "worker")])
def test_a_job_waits_for_the_running_jobs_of_its_owner(
    client: FlaskClient, services: Services, limit: int, waits_for: str
) -> None:
    with services.engine.begin() as connection:
        values = {"owner": NOBODY, "max_running": limit}
        connection.execute(sa.insert(OWNER_STATE).values(values))
    job_in(services, "running", owner="another")
    job_in(services, "running")
    waiting = submitted(services)
    assert client.get(f"/jobs/{waiting}").get_json()["waiting_for"] == waits_for


def test_nothing_about_a_running_job_changes_between_two_tenths_but_its_time(
    client: FlaskClient, services: Services
) -> None:
    claim = claimed(services, submitted(services))
    before = client.get(f"/jobs/{claim.job_id}").get_json()
    services.store.checkpoint(claim, 1, encode([{"frame_index": 1, "result": {}}]), [1], 0.49)
    after = client.get(f"/jobs/{claim.job_id}").get_json()
    assert {name for name in before if before[name] != after[name]} == {"updated_at"}
