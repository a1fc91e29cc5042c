"""`DELETE /jobs/{job_id}`: what it removes in each state of a job, and for whom."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.jobs_in_states import STATES, app, claimed, job_in, key_of, left, submitted
from tests.support.records import stored
from videoqueue.api.extension import services_of
from videoqueue.broker import queued
from videoqueue.errors import LeaseLostError, StorageUnavailableError
from videoqueue.jobs.types import ALL_OWNERS
from videoqueue.maintenance.retention import Retention
from videoqueue.services import Services

__all__ = ["app"]


@pytest.mark.parametrize("status", STATES)
def test_a_deleted_job_leaves_nothing_whatever_its_state(
    client: FlaskClient, services: Services, status: str
) -> None:
    job_id = job_in(services, status)
    response = client.delete(f"/jobs/{job_id}")
    assert (response.status_code, response.data) == (204, b"")
    assert "Content-Type" not in response.headers
    assert left(services) == (0, 0, 0, 0)
    for method, path in (
        ("DELETE", f"/jobs/{job_id}"),
        ("GET", f"/jobs/{job_id}"),
        ("GET", f"/video/status/{job_id}"),
        ("GET", f"/video/results/{job_id}"),
        ("POST", f"/jobs/{job_id}/retry"),
    ):
        again = client.open(path, method=method)
        assert (again.status_code, again.get_json()["code"]) == (404, "job_not_found")


def test_the_deletion_of_a_running_job_announces_the_next_of_an_owner_at_the_limit(
    start_app: Callable[..., Flask],
) -> None:
    app = start_app(owner_max_running=1)
    services = services_of(app)
    running, other, waiting = (submitted(services) for _ in range(3))
    claimed(services, running)
    for job_id, messages in ((waiting, 0), (running, 1)):
        assert app.test_client().delete(f"/jobs/{job_id}").status_code == 204
        assert queued(services.broker) == messages
    assert stored(services.store, other).announcements == 2


def test_a_worker_can_write_nothing_for_a_deleted_job(client: FlaskClient, services: Services) -> None:
    job_id = submitted(services)
    claim = claimed(services, job_id)
    assert client.delete(f"/jobs/{job_id}").status_code == 204
    store = services.store
    writes: list[Callable[[], object]] = [
        lambda: store.renew(claim),
        lambda: store.begin(claim, "a" * 64),
        lambda: store.checkpoint(claim, 1, b"x", [1], 0.5),
        lambda: store.complete(claim, "etag"),
        lambda: store.fail(claim, "why"),
        lambda: store.release(claim, "crashes", "why"),
    ]
    for write in writes:
        with pytest.raises(LeaseLostError, match="or it was deleted"):
            write()
    assert left(services) == (0, 0, 0, 0)


def test_the_message_of_a_deleted_job_claims_nothing(client: FlaskClient, services: Services) -> None:
    job_id = submitted(services)
    client.delete(f"/jobs/{job_id}")
    assert services.store.claim(job_id, "host:1") is None


def test_a_video_stays_as_long_as_another_job_has_it(client: FlaskClient, services: Services) -> None:
    failed = job_in(services, "failed")
    again = services.store.retry(failed, ALL_OWNERS)
    assert again is not None
    assert client.delete(f"/jobs/{failed}").status_code == 204
    assert services.storage.exists(stored(services.store, again).input_key)
    assert client.delete(f"/jobs/{again}").status_code == 204
    assert left(services) == (0, 0, 0, 0)


def test_an_idempotency_key_ends_with_its_job(client: FlaskClient, services: Services) -> None:
    first = submitted(services, idempotency_key="k")
    client.delete(f"/jobs/{first}")
    assert submitted(services, idempotency_key="k") != first


def test_a_storage_that_is_away_does_not_keep_the_job_and_the_next_purge_removes_the_video(
    client: FlaskClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = job_in(services, "completed")

    def away(_key: str) -> None:
        raise StorageUnavailableError("away")

    with monkeypatch.context() as patched:
        patched.setattr(services.storage, "delete", away)
        assert client.delete(f"/jobs/{job_id}").status_code == 204
    assert client.get(f"/video/results/{job_id}").status_code == 404
    assert left(services) == (0, 0, 1, 1)
    retention = Retention(services.store, services.storage)
    assert [step.videos for step in retention.round(ALL_OWNERS, 30, 86_400, 10)] == [1, 0]
    assert left(services) == (0, 0, 0, 0)


def test_only_the_owner_and_an_admin_delete_a_job(client: FlaskClient, services: Services) -> None:
    anna, bert, root = (key_of(services, name) for name in ("anna", "bert", "root"))
    admin = key_of(services, "root", "admin")
    for allowed, refused in ((anna, bert), (admin, root)):
        job_id = job_in(services, "running", owner="anna")
        assert client.delete(f"/jobs/{job_id}", headers=refused).status_code == 404
        assert client.delete(f"/jobs/{job_id}", headers=allowed).status_code == 204


def test_a_body_that_nobody_reads_closes_the_connection(client: FlaskClient, services: Services) -> None:
    job_id = job_in(services, "completed")
    assert client.post(f"/jobs/{job_id}/retry", data=b"{}").headers["Connection"] == "close"
    assert "Connection" not in client.post(f"/jobs/{job_id}/retry").headers
    assert client.delete(f"/jobs/{job_id}", data=b"{}").headers["Connection"] == "close"
