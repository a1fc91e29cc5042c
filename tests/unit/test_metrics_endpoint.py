"""GET /metrics: what Prometheus reads of a service."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from tests.support.records import new_job
from videoqueue.app import create_app
from videoqueue.jobs import workers
from videoqueue.pipeline.decode.video_info import VideoInfo
from videoqueue.services import Services
from videoqueue.settings import Settings

_BYTES = 10


def samples(client: FlaskClient) -> dict[str, float]:
    """Every value by its name and labels, as the response has them."""
    lines = client.get("/metrics").get_data(as_text=True).splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def a_known_load(services: Services) -> list[str]:
    """Two completed jobs, one that failed, one that runs and one that waits; returns their ids."""
    store, done = services.store, []
    for duration in (1.5, 2.25):
        claim = store.claim(store.create(new_job(owner="anna"))[0], "host:1")
        assert claim is not None
        store.checkpoint(claim, 0, b"a,b", [0, 1], 0.5)
        store.complete(claim, "etag", VideoInfo(duration=duration))
        done.append(str(claim.job_id))
    failing = store.claim(store.create(new_job(owner="anna", pipeline_id="removed"))[0], "host:1")
    assert failing is not None
    store.fail(failing, "why")
    running = store.claim(store.create(new_job(owner="anna"))[0], "host:1")
    assert running is not None
    waiting, _ = store.create(new_job(owner="anna"))
    workers.heartbeat(services.engine, "host:1", 3, starting=True)
    workers.heartbeat(services.engine, "host:2", 2, starting=True)
    return [*done, *map(str, (failing.job_id, running.job_id, waiting))]


def test_the_numbers_after_a_known_load_are_exact(client: FlaskClient, services: Services) -> None:
    a_known_load(services)
    found = samples(client)
    expected = {
        'videoqueue_jobs{status="pending"}': 1,
        'videoqueue_jobs{status="running"}': 1,
        'videoqueue_jobs{status="completed"}': 2,
        'videoqueue_jobs{status="failed"}': 1,
        "videoqueue_workers": 2,
        "videoqueue_worker_threads": 5,
        "videoqueue_stored_video_bytes": _BYTES,  # the jobs share a video
        'videoqueue_jobs_submitted_total{pipeline="ocr_only"}': 4,
        'videoqueue_jobs_submitted_total{pipeline="removed"}': 1,
        'videoqueue_jobs_submitted_total{pipeline="yolo_ocr"}': 0,
        'videoqueue_jobs_finished_total{outcome="completed",pipeline="ocr_only"}': 2,
        'videoqueue_jobs_finished_total{outcome="failed",pipeline="removed"}': 1,
        'videoqueue_jobs_finished_total{outcome="deleted",pipeline="ocr_only"}': 0,
        'videoqueue_job_setbacks_total{kind="crash"}': 0,
        'videoqueue_frames_total{pipeline="ocr_only"}': 4,
        'videoqueue_video_seconds_total{pipeline="ocr_only"}': 3.75,
        "videoqueue_job_wait_seconds_count": 4,
        'videoqueue_job_wait_seconds_bucket{le="21600.0"}': 4,
        'videoqueue_job_duration_seconds_count{outcome="completed"}': 2,
        'videoqueue_job_duration_seconds_bucket{le="+Inf",outcome="failed"}': 1,
    }
    assert {name: found[name] for name in expected} == expected
    assert 0 < found["videoqueue_oldest_pending_job_age_seconds"] < 3600
    assert 0 < found["videoqueue_job_wait_seconds_sum"] < 3600


def test_a_new_service_has_all_series_at_zero(client: FlaskClient) -> None:
    found = samples(client)
    assert set(found.values()) == {0, 1}
    assert [name for name, value in found.items() if value] == [
        name for name in found if name.startswith("videoqueue_build_info{")
    ]


def test_no_label_names_a_job_an_owner_or_a_worker(client: FlaskClient, services: Services) -> None:
    ids = a_known_load(services)
    text = client.get("/metrics").get_data(as_text=True)
    assert [word for word in (*ids, "anna", "host:") if word in text] == []
    labels = set(re.findall(r'(\w+)="', text))
    assert labels == {"status", "state", "pipeline", "outcome", "kind", "le", "version", "python"}


def test_another_web_process_shows_the_same_numbers(
    client: FlaskClient, services: Services, settings: Settings
) -> None:
    a_known_load(services)
    other = create_app(settings)
    age = "videoqueue_oldest_pending_job_age_seconds"
    first, second = samples(client), samples(other.test_client())
    assert first.pop(age) <= second.pop(age)
    assert first == second


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=0.0.4", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
            "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        (
            "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
            "application/openmetrics-text;version=x;escaping=allow-utf-8;q=0.6",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        ("application/openmetrics-text;q=0", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
def test_the_format_is_the_one_that_the_client_prefers(client: FlaskClient, accept: str, kind: str) -> None:
    response = client.get("/metrics", headers={"Accept": accept})
    assert (response.status_code, response.headers["Content-Type"]) == (200, kind)
    assert response.headers["Cache-Control"] == "no-store"
    text = response.get_data(as_text=True)
    if kind.startswith("text/plain"):
        families = list(text_string_to_metric_families(text))
    else:
        families = list(openmetrics.text_string_to_metric_families(text))  # type: ignore[no-untyped-call]
    assert all(family.name.startswith("videoqueue_") and family.documentation for family in families)
    assert len(families) == 15


def test_without_the_database_it_is_unavailable(app: Flask, services: Services) -> None:
    with services.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE counter RENAME TO away"))
    response = app.test_client().get("/metrics")
    assert (response.status_code, response.mimetype) == (503, "application/problem+json")
    assert response.get_json()["code"] == "database_unavailable"
    assert response.headers["Retry-After"]


def test_readiness_notices_that_jobs_cannot_be_counted(app: Flask, services: Services) -> None:
    with services.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE counter RENAME TO away"))
    assert app.test_client().get("/readyz").get_json()["code"] == "database_unavailable"
