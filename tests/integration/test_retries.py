"""`POST /jobs/{id}/retry` at limits, at the same time as other requests, and with a video of two jobs."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.support.leaks import ADMIN_KEY
from tests.support.records import new_job, stored
from videoqueue.api.extension import services_of
from videoqueue.broker import queued
from videoqueue.jobs.deletion import Deletions
from videoqueue.jobs.tables import DELETED_JOB, JOB
from videoqueue.jobs.types import ALL_OWNERS, NOBODY
from videoqueue.maintenance.retention import Retention
from videoqueue.services import Services


def failed_job(services: Services) -> uuid.UUID:
    key = f"inputs/{uuid.uuid4().hex}.mp4"
    with services.storage.open_writer(key) as writer:
        writer.write(b"a video")
        writer.commit()
    claim = services.store.claim(services.store.create(new_job(b"a video", input_key=key))[0], "host:1")
    assert claim is not None
    services.store.fail(claim, "why")
    return claim.job_id


def jobs(services: Services) -> Counter[str]:
    """How many jobs are in each state."""
    with services.engine.connect() as connection:
        return Counter(connection.execute(sa.select(JOB.c.status)).scalars())


def videos(services: Services) -> set[str]:
    return set(services.storage.list_older_than(-60))


def test_a_retry_at_the_limit_of_pending_jobs_is_refused_and_adds_nothing(
    start_app: Callable[..., Flask],
) -> None:
    app = start_app(owner_max_pending=1)
    services, client = services_of(app), app.test_client()
    failed = failed_job(services)
    first = client.post(f"/jobs/{failed}/retry")
    assert first.status_code == 202
    refused = client.post(f"/jobs/{failed}/retry")
    assert (refused.status_code, refused.get_json()["code"]) == (429, "quota_exceeded")
    assert "VIDEOQUEUE_OWNER_MAX_PENDING" in refused.get_json()["detail"]
    assert "Location" not in refused.headers
    assert (jobs(services), queued(services.broker)) == (Counter(failed=1, pending=1), 1)
    assert services.store.claim(uuid.UUID(first.get_json()["job_id"]), "host:1") is not None
    assert client.post(f"/jobs/{failed}/retry").status_code == 202


def test_a_retry_stores_no_further_video_and_is_not_refused_by_the_limit_of_stored_bytes(
    start_app: Callable[..., Flask],
) -> None:
    app = start_app(owner_max_stored_bytes=7)
    services = services_of(app)
    assert app.test_client().post(f"/jobs/{failed_job(services)}/retry").status_code == 202
    assert len(videos(services)) == 1


def test_retries_at_the_same_time_leave_as_many_pending_jobs_as_allowed(
    start_app: Callable[..., Flask],
) -> None:
    app = start_app(owner_max_pending=5)
    services = services_of(app)
    # Different ones: retries of the same job wait for each other anyway.
    failed = [failed_job(services) for _ in range(12)]
    with ThreadPoolExecutor(4) as threads:
        posts = threads.map(lambda job_id: app.test_client().post(f"/jobs/{job_id}/retry"), failed)
        codes = Counter(response.status_code for response in posts)
    assert codes == {202: 5, 429: 7}
    assert (jobs(services), queued(services.broker)) == (Counter(failed=12, pending=5), 5)


def test_each_retry_is_a_job_of_its_own(start_app: Callable[..., Flask]) -> None:
    app = start_app()
    services = services_of(app)
    failed = failed_job(services)
    made = {app.test_client().post(f"/jobs/{failed}/retry").get_json()["job_id"] for _ in range(3)}
    assert len(made) == 3
    assert jobs(services) == Counter(failed=1, pending=3)


def test_a_job_that_is_deleted_while_it_is_retried_makes_no_new_one(
    start_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = start_app()
    services = services_of(app)
    failed = failed_job(services)

    def exists(_key: str) -> bool:
        assert app.test_client().delete(f"/jobs/{failed}").status_code == 204
        return True

    monkeypatch.setattr(services.storage, "exists", exists)
    response = app.test_client().post(f"/jobs/{failed}/retry")
    assert (response.status_code, response.get_json()["code"]) == (404, "job_not_found")
    assert (jobs(services), videos(services), queued(services.broker)) == (Counter(), set(), 0)


@pytest.mark.parametrize("first", ["failed", "again"])
def test_deleting_one_of_two_jobs_with_the_same_video_keeps_it_for_the_other(
    start_app: Callable[..., Flask], first: str
) -> None:
    app = start_app()
    services, client = services_of(app), app.test_client()
    failed = str(failed_job(services))
    again = client.post(f"/jobs/{failed}/retry").get_json()["job_id"]
    deleted, kept = (failed, again) if first == "failed" else (again, failed)
    assert client.delete(f"/jobs/{deleted}").status_code == 204
    assert videos(services) == {stored(services.store, uuid.UUID(kept)).input_key}
    if first == "again":
        again = client.post(f"/jobs/{failed}/retry").get_json()["job_id"]
        assert services.store.claim(uuid.UUID(again), "host:1") is not None
        assert client.delete(f"/jobs/{again}").status_code == 204
    assert client.delete(f"/jobs/{kept}").status_code == 204
    assert (jobs(services), videos(services)) == (Counter(), set())
    with services.engine.connect() as connection:
        assert connection.execute(sa.select(DELETED_JOB.c.job_id)).all() == []


def test_an_interrupted_deletion_is_finished_without_the_video_of_the_retried_job(
    start_app: Callable[..., Flask],
) -> None:
    app = start_app()
    services, client = services_of(app), app.test_client()
    failed = failed_job(services)
    again = uuid.UUID(client.post(f"/jobs/{failed}/retry").get_json()["job_id"])
    # As a process leaves it that is killed after its commit.
    assert Deletions(services.engine, services.store.limits).delete(failed, NOBODY) is not None
    assert Retention(services.store, services.storage).finish_deletions(10) == 1
    assert videos(services) == {stored(services.store, again).input_key}
    assert services.store.claim(again, "host:1") is not None
    assert services.store.get(again, ALL_OWNERS) is not None


def test_a_repeated_retry_with_the_same_idempotency_key_is_one_job(start_app: Callable[..., Flask]) -> None:
    app = start_app(owner_max_pending=1, max_pending_jobs=1)
    services, client = services_of(app), app.test_client()
    failed = failed_job(services)
    header = {"Idempotency-Key": "k"}
    first, again = (client.post(f"/jobs/{failed}/retry", headers=header) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.get_json() == again.get_json()
    assert first.headers["Location"] == again.headers["Location"]
    assert (jobs(services), queued(services.broker)) == (Counter(failed=1, pending=1), 1)
    refused = client.post(f"/jobs/{failed}/retry", headers={"Idempotency-Key": "another"})
    assert refused.get_json()["code"] == "too_many_pending_jobs"


def test_retries_at_the_same_time_with_the_same_idempotency_key_are_one_job(
    start_app: Callable[..., Flask],
) -> None:
    app = start_app(admin_key=ADMIN_KEY)
    services = services_of(app)
    failed = [failed_job(services) for _ in range(4)]  # jobs with the same video wait for no common lock
    header = {"Idempotency-Key": "k", "Authorization": f"Bearer {ADMIN_KEY}"}
    with ThreadPoolExecutor(4) as threads:
        posts = threads.map(
            lambda job_id: app.test_client().post(f"/jobs/{job_id}/retry", headers=header), failed
        )
        made = {response.get_json()["job_id"] for response in posts}
    assert len(made) == 1
    assert (jobs(services), queued(services.broker)) == (Counter(failed=4, pending=1), 1)


def test_an_idempotency_key_of_another_submission_or_of_the_failed_job_is_refused(
    start_app: Callable[..., Flask],
) -> None:
    app = start_app()
    services, client = services_of(app), app.test_client()
    failed = failed_job(services)
    with services.engine.begin() as connection:
        connection.execute(sa.update(JOB).values(idempotency_key="its own"))
    services.store.create(new_job(b"another video", idempotency_key="other"))
    for key in ("its own", "other"):
        refused = client.post(f"/jobs/{failed}/retry", headers={"Idempotency-Key": key})
        assert (refused.status_code, refused.get_json()["code"]) == (422, "idempotency_key_reused")
    assert jobs(services) == Counter(failed=1, pending=1)


def test_an_admin_retries_beyond_the_owners_limit_of_pending_jobs(start_app: Callable[..., Flask]) -> None:
    app = start_app(owner_max_pending=1, admin_key=ADMIN_KEY)
    services, client = services_of(app), app.test_client()
    failed = failed_job(services)
    admin = {"Authorization": f"Bearer {ADMIN_KEY}"}
    assert [client.post(f"/jobs/{failed}/retry", headers=admin).status_code for _ in range(2)] == [202, 202]
