"""`POST /jobs/{job_id}/retry`: what the new job has, and which jobs are not retried."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.jobs_in_states import app, claimed, job_in, key_of, submitted
from tests.support.records import stored
from videoqueue.api.extension import services_of
from videoqueue.broker import queued
from videoqueue.services import Services

__all__ = ["app"]


def test_a_failed_job_is_retried_as_a_new_one_with_the_same_video_and_parameters(
    client: FlaskClient, services: Services
) -> None:
    job_id = submitted(services, frame_stride=3, max_frames=9, name="match.mp4", idempotency_key="k")
    services.store.fail(claimed(services, job_id), "why")
    response = client.post(f"/jobs/{job_id}/retry")
    again = response.get_json()["job_id"]
    assert (response.status_code, response.get_json()) == (202, {"job_id": again})
    assert response.headers["Location"] == f"/video/status/{again}"
    new, old = stored(services.store, uuid.UUID(again)), stored(services.store, job_id)
    same = ("owner", "input_key", "input_sha256", "pipeline_id", "frame_stride", "max_frames", "name")
    assert [getattr(new, name) for name in same] == [getattr(old, name) for name in same]
    assert (new.status, new.attempt, new.idempotency_key, old.status) == ("pending", 0, None, "failed")
    assert queued(services.broker) == 1


def test_a_retried_job_belongs_to_the_owner_of_the_failed_one_and_names_the_key_of_the_retry(
    client: FlaskClient, services: Services
) -> None:
    job_id = job_in(services, "failed", owner="anna", key_id="old")
    admin = key_of(services, "root", "admin")
    again = uuid.UUID(client.post(f"/jobs/{job_id}/retry", headers=admin).get_json()["job_id"])
    new = stored(services.store, again)
    assert new.owner == "anna"
    assert new.key_id == admin["Authorization"].split("_")[1]


@pytest.mark.parametrize("status", ["pending", "running", "completed"])
def test_only_a_failed_job_is_retried(client: FlaskClient, services: Services, status: str) -> None:
    response = client.post(f"/jobs/{job_in(services, status)}/retry")
    assert (response.status_code, response.get_json()["code"]) == (409, "not_retryable")
    assert f"The job is {status}." in response.get_json()["detail"]


def test_a_job_without_its_video_is_not_retried(client: FlaskClient, services: Services) -> None:
    job_id = job_in(services, "failed")
    services.storage.delete(stored(services.store, job_id).input_key)
    response = client.post(f"/jobs/{job_id}/retry")
    assert (response.status_code, response.get_json()["code"]) == (409, "not_retryable")
    assert "Submit it again" in response.get_json()["detail"]


def test_a_retry_counts_as_a_pending_job(start_app: Callable[..., Flask]) -> None:
    app = start_app(max_pending_jobs=1)
    services = services_of(app)
    failed = job_in(services, "failed")
    submitted(services)
    response = app.test_client().post(f"/jobs/{failed}/retry")
    assert (response.status_code, response.get_json()["code"]) == (503, "too_many_pending_jobs")
