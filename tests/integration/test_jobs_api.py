"""The blueprint `jobs`: list, describe, delete and retry jobs, and list pipelines, on both databases."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.records import new_job, stored
from tests.support.videos import make_video
from videoqueue.api.extension import services_of
from videoqueue.broker import queued
from videoqueue.errors import LeaseLostError, StorageUnavailableError
from videoqueue.jobs.api_key import Scope
from videoqueue.jobs.keys import KeyStore
from videoqueue.jobs.results import encode
from videoqueue.jobs.tables import CHUNK, DELETED_JOB, JOB, OWNER_STATE
from videoqueue.jobs.types import ALL_OWNERS, NOBODY, Claim
from videoqueue.maintenance.retention import Retention
from videoqueue.pipeline.decode.video_info import VideoInfo
from videoqueue.services import Services

STATES = ("pending", "running", "completed", "failed")
VIDEO = VideoInfo(damaged_frames=2, width=640, height=360, fps=29.97, duration=4.5, codec="hevc")


@pytest.fixture
def app(start_app: Callable[..., Flask]) -> Flask:
    return start_app()


def submitted(services: Services, **changes: Any) -> uuid.UUID:
    key = f"inputs/{uuid.uuid4().hex}.mp4"
    with services.storage.open_writer(key) as writer:
        writer.write(b"a video")
        writer.commit()
    return services.store.create(new_job(b"a video", input_key=key, **changes))[0]


def claimed(services: Services, job_id: uuid.UUID) -> Claim:
    claim = services.store.claim(job_id, "host:1")
    assert claim is not None
    services.store.checkpoint(claim, 0, encode([{"frame_index": 0, "result": {}}]), [0], 0.45)
    return claim


def job_in(services: Services, status: str, **changes: Any) -> uuid.UUID:
    """A job in this state, with a chunk unless it is pending."""
    job_id = submitted(services, **changes)
    if status == "pending":
        return job_id
    claim = claimed(services, job_id)
    if status == "completed":
        etag, size = services.results.digest(job_id, ALL_OWNERS)
        services.store.complete(claim, etag, VIDEO, size)
    if status == "failed":
        services.store.fail(claim, "It ends early.", VIDEO, "truncated_mp4")
    return job_id


def key_of(services: Services, owner: str, scope: Scope = "submit") -> dict[str, str]:
    return {"Authorization": f"Bearer {KeyStore(services.engine).create(owner, frozenset({scope}))[1]}"}


def left(services: Services) -> tuple[int, int, int, int]:
    """How many jobs, chunks, unfinished deletions and videos there are."""
    with services.engine.connect() as connection:
        rows = [
            connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in (JOB, CHUNK, DELETED_JOB)
        ]
    return rows[0], rows[1], rows[2], len(list(services.storage.list_older_than(-60)))


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


def test_the_list_has_the_newest_first_and_exactly_the_fields_of_the_contract(
    client: FlaskClient, services: Services
) -> None:
    jobs = [job_in(services, status, name=status) for status in STATES]
    listed = client.get("/jobs")
    assert listed.headers["Cache-Control"] == "no-store"
    body = listed.get_json()
    assert [job["job_id"] for job in body["jobs"]] == [str(job_id) for job_id in reversed(jobs)]
    assert body["next_page_token"] is None
    for job in body["jobs"]:
        shared = client.get(f"/video/status/{job['job_id']}").get_json()
        row = stored(services.store, uuid.UUID(job["job_id"]))
        assert job == shared | {"name": row.name, "pipeline_id": "ocr_only"}


def test_the_list_is_walked_by_pages_while_jobs_come_and_go(client: FlaskClient, services: Services) -> None:
    jobs = [submitted(services) for _ in range(7)]
    with services.engine.begin() as connection:  # the same time: the ids decide
        connection.execute(sa.update(JOB).where(JOB.c.job_id.in_(jobs[1:5])).values(created_at=7))
    seen, token = [], None
    for page in range(4):
        parameters = {"page_size": 2} | ({"page_token": token} if token else {})
        body = client.get("/jobs", query_string=parameters).get_json()
        seen += [job["job_id"] for job in body["jobs"]]
        token = body["next_page_token"]
        assert (token is None) == (page == 3)
        submitted(services)
    assert sorted(seen) == sorted(map(str, jobs))


def test_the_last_page_that_is_full_has_no_next_one(client: FlaskClient, services: Services) -> None:
    for _ in range(2):
        submitted(services)
    assert client.get("/jobs?page_size=2").get_json()["next_page_token"] is None


def test_the_list_takes_a_status(client: FlaskClient, services: Services) -> None:
    jobs = {status: job_in(services, status) for status in STATES}
    for status, job_id in jobs.items():
        listed = client.get(f"/jobs?status={status}").get_json()["jobs"]
        assert [job["job_id"] for job in listed] == [str(job_id)]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("status=paused", "status takes pending, running, completed or failed"),
        ("status=", "status takes pending, running, completed or failed"),
        ("page_size=0", "page_size takes a whole number from 1 to 200"),
        ("page_size=201", "page_size takes a whole number from 1 to 200"),
        ("page_size=ten", "page_size takes a whole number"),
        ("page_token=", "page_token takes the `next_page_token` of an earlier page"),
        ("page_token=nonsense", "takes the `next_page_token` of an earlier page"),
        (
            "page_token=9999999999999999999-00000000000000000000000000000000",
            "takes the `next_page_token` of an earlier page",
        ),
        ("limit=3", "There is no parameter 'limit'. Known: owner, page_size, page_token, status."),
        ("page_size=3&page_size=4", "The parameter page_size is given twice. Send it once."),
        ("owner=%00", "owner takes the name of an owner: 1 to 64 ASCII characters"),
        ("owner=anna%00", "owner takes the name of an owner"),
        ("owner=%ff", "owner takes the name of an owner"),
        ("owner=%ED%A0%80", "owner takes the name of an owner"),
        ("owner=anna%0a", "owner takes the name of an owner"),
        ("owner=two+words", "owner takes the name of an owner"),
        ("status=%00", "status takes pending, running, completed or failed"),
        ("page_token=1-%00", "takes the `next_page_token` of an earlier page"),
    ],
)
def test_a_parameter_of_the_list_that_cannot_be_used_says_what_it_takes(
    client: FlaskClient, query: str, said: str
) -> None:
    response = client.get(f"/jobs?{query}")
    assert (response.status_code, response.get_json()["code"]) == (400, "invalid_parameter")
    assert said in response.get_json()["detail"]


@pytest.mark.parametrize("key", ["a\0b", "\x1b", "\x7f", "a\0"])
def test_control_characters_in_an_idempotency_key_are_refused_before_the_database_sees_them(
    client: FlaskClient, services: Services, video: bytes, key: str
) -> None:
    failed = job_in(services, "failed")
    for path in ("/video/submit", f"/jobs/{failed}/retry"):
        response = client.post(
            path, data=video, content_type="video/mp4", environ_overrides={"HTTP_IDEMPOTENCY_KEY": key}
        )
        assert (response.status_code, response.get_json()["code"]) == (400, "invalid_parameter")
        assert "Idempotency-Key takes 1 to 255 characters" in response.get_json()["detail"]


@pytest.mark.parametrize(
    "text",
    [
        "{hex}----",
        "{hex}",
        "{{{hex}}}--",
        "urn:uuid:{id}",
        "{id} ",
        "{id}%0a",
        "-{hex}---",
        "{hex:.8}-{hex}---",
    ],
)
def test_an_id_that_is_not_in_the_form_of_rfc_9562_is_no_job(
    client: FlaskClient, services: Services, text: str
) -> None:
    job_id = job_in(services, "failed")
    path = text.format(hex=job_id.hex, id=job_id)
    for method, address in (
        ("GET", f"/jobs/{path}"),
        ("GET", f"/video/status/{path}"),
        ("GET", f"/video/results/{path}"),
        ("POST", f"/jobs/{path}/retry"),
        ("DELETE", f"/jobs/{path}"),
    ):
        response = client.open(address, method=method)
        assert (response.status_code, response.get_json()["code"]) == (404, "job_not_found")
    assert client.get(f"/jobs/{str(job_id).upper()}").status_code == 200


@pytest.mark.parametrize("query", ["pipeline_id=ocr_only", "dry_run=1", "owner=anna", "x", "=", "%ff=1"])
def test_an_address_without_parameters_refuses_them_and_changes_nothing(
    client: FlaskClient, services: Services, query: str
) -> None:
    job_id = job_in(services, "failed")
    for method, path in (
        ("GET", f"/jobs/{job_id}"),
        ("POST", f"/jobs/{job_id}/retry"),
        ("DELETE", f"/jobs/{job_id}"),
        ("GET", f"/jobs/{job_id}/video"),
        ("GET", "/pipelines"),
    ):
        response = client.open(f"{path}?{query}", method=method)
        assert (response.status_code, response.get_json()["code"]) == (400, "invalid_parameter")
        assert "There is no parameter" in response.get_json()["detail"]
    assert left(services) == (1, 1, 0, 1)
    assert client.get(f"/video/status/{job_id}?{query}").status_code == 200


def test_only_an_admin_sees_whose_a_job_is(client: FlaskClient, services: Services) -> None:
    jobs = {owner: str(submitted(services, owner=owner)) for owner in (NOBODY, "anna")}
    assert "owner" not in client.get(f"/jobs/{jobs[NOBODY]}").get_json()
    assert all("owner" not in job for job in client.get("/jobs").get_json()["jobs"])
    anna, admin = key_of(services, "anna"), key_of(services, "root", "admin")
    assert "owner" not in client.get(f"/jobs/{jobs['anna']}", headers=anna).get_json()
    assert all("owner" not in job for job in client.get("/jobs", headers=anna).get_json()["jobs"])
    listed = client.get("/jobs", headers=admin).get_json()["jobs"]
    assert {job["owner"]: job["job_id"] for job in listed} == jobs
    for owner, job_id in jobs.items():
        assert client.get(f"/jobs/{job_id}", headers=admin).get_json()["owner"] == owner


def test_without_keys_the_refusal_to_list_others_speaks_of_none_that_was_sent(client: FlaskClient) -> None:
    response = client.get("/jobs?owner=anna")
    assert response.status_code == 403
    assert response.get_json()["detail"].startswith(
        "The jobs of another owner can only be listed with a key that has the scope admin."
    )


def test_the_list_is_the_owners_and_an_admin_lists_those_of_all_or_of_one(
    client: FlaskClient, services: Services
) -> None:
    jobs = {owner: str(submitted(services, owner=owner)) for owner in (NOBODY, "anna", "bert")}
    anna, admin = key_of(services, "anna", "read"), key_of(services, "root", "admin")

    def listed(header: dict[str, str], query: str = "") -> set[str]:
        response = client.get(f"/jobs{query}", headers=header)
        return {job["job_id"] for job in response.get_json()["jobs"]}

    assert listed(anna) == listed(anna, "?owner=anna") == {jobs["anna"]}
    assert listed(admin) == set(jobs.values())
    for owner, job_id in jobs.items():
        assert listed(admin, f"?owner={owner}") == {job_id}
    refused = client.get("/jobs?owner=bert", headers=anna)
    assert (refused.status_code, refused.get_json()["code"]) == (403, "forbidden")
    assert 'scope="admin"' in refused.headers["WWW-Authenticate"]


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


def test_the_pipelines_are_listed_with_the_default_one(client: FlaskClient) -> None:
    body = client.get("/pipelines").get_json()
    assert [(one["pipeline_id"], one["default"]) for one in body["pipelines"]] == [
        ("ocr_only", False),
        ("yolo_ocr", True),
        ("yolo_only", False),
    ]
    assert all(one["description"] for one in body["pipelines"])
    assert all(set(one) == {"pipeline_id", "default", "description"} for one in body["pipelines"])


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_video(tmp_path_factory.mktemp("video") / "video.mp4").read_bytes()


def name_of(client: FlaskClient, response: TestResponse) -> str | None:
    assert response.status_code == 202, response.data
    job = client.get(f"/jobs/{response.get_json()['job_id']}").get_json()
    (listed,) = client.get("/jobs").get_json()["jobs"]
    assert listed["name"] == job["name"]
    name: str | None = job["name"]
    return name


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("match", "match"),
        ("  Spiel – Öl 📹  ", "Spiel – Öl 📹"),
        ("a\x00b\r\nc\u202ed\u2028e\x9f", "abcde"),
        ("../../etc/passwd", "../../etc/passwd"),
        ("x" * 255, "x" * 255),
        (" \x07 ", None),
    ],
)
def test_a_name_is_shown_without_control_characters(
    client: FlaskClient, video: bytes, given: str, name: str | None
) -> None:
    raw = {"data": video, "content_type": "video/mp4"}
    response = client.post("/video/submit", query_string={"name": given}, **raw)
    assert name_of(client, response) == name
    client.delete(f"/jobs/{response.get_json()['job_id']}")
    data = {"file": (io.BytesIO(video), "file.mp4"), "name": given}
    assert name_of(client, client.post("/video/submit", data=data)) == (name or "file.mp4")


@pytest.mark.parametrize("given", ["", "x" * 256])
def test_a_name_that_is_empty_or_too_long_is_refused(client: FlaskClient, video: bytes, given: str) -> None:
    response = client.post(
        "/video/submit", query_string={"name": given}, data=video, content_type="video/mp4"
    )
    assert (response.status_code, response.get_json()["code"]) == (400, "invalid_parameter")
    assert "name takes 1 to 255 characters" in response.get_json()["detail"]


@pytest.mark.parametrize("given", ["", "  "])
@pytest.mark.parametrize("field", ["name", "max_frames", "frame_stride"])
def test_a_form_field_that_nobody_filled_in_counts_as_not_sent(
    client: FlaskClient, video: bytes, field: str, given: str
) -> None:
    for query in ({}, {"max_frames": "7", "name": "of the query"}):
        data = {field: given, "file": (io.BytesIO(video), "match.mp4")}
        response = client.post("/video/submit", query_string=query, data=data)
        assert response.status_code == 202, response.data
        job = client.get(f"/jobs/{response.get_json()['job_id']}").get_json()
        assert job["name"] == query.get("name", "match.mp4")
        assert job["max_frames"] == (7 if query else None)
        assert job["frame_stride"] == 1


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("name=a%FF%FEb", "a\ufffd\ufffdb"),
        ("name=a\xffb", "a\ufffdb"),
        ("name=Fu%C3%9Fball+%2B", "Fußball +"),
        ("name=%ED%A0%80", "\ufffd\ufffd\ufffd"),
        ("name=100%", "100%"),
    ],
)
def test_undecodable_bytes_of_a_name_in_the_query_are_replaced(
    client: FlaskClient, video: bytes, query: str, name: str
) -> None:
    response = client.post(
        "/video/submit", data=video, content_type="video/mp4", environ_overrides={"QUERY_STRING": query}
    )
    assert name_of(client, response) == name


def test_undecodable_bytes_in_a_query_are_a_refused_value_of_every_address(
    client: FlaskClient, services: Services
) -> None:
    completed = job_in(services, "completed")
    for method, path in (("POST", "/video/submit"), ("GET", "/jobs"), ("GET", f"/video/results/{completed}")):
        for query in ("page_token=\xff", "\xff=1"):
            response = client.open(path, method=method, environ_overrides={"QUERY_STRING": query})
            assert (response.status_code, response.get_json()["code"]) == (400, "invalid_parameter")


def form(video: bytes, disposition: bytes, field: bytes | None = None) -> dict[str, Any]:
    head = b"--b\r\nContent-Disposition: form-data; name="
    body = head + b'"file"; ' + disposition + b"\r\n\r\n" + video + b"\r\n"
    if field is not None:
        body += head + b'"name"\r\n\r\n' + field + b"\r\n"
    return {"data": body + b"--b--\r\n", "content_type": "multipart/form-data; boundary=b"}


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (b'filename="match.mp4"', "match.mp4"),
        (b"filename=match.mp4", "match.mp4"),
        (b'filename="/home/anna/match.mp4"', "match.mp4"),
        (b'filename="C:\\Videos\\match.mp4"', "match.mp4"),
        (b'filename="../.."', ".."),
        (b'filename="a/"', None),
        ('filename="Fußball.mp4"'.encode(), "Fußball.mp4"),
        (b'filename="a\xff\xfeb.mp4"', "a\ufffd\ufffdb.mp4"),
        (b'filename="a\x07b.mp4"', "ab.mp4"),
        (b'filename="a\\"b.mp4"', 'a"b.mp4'),
        (b'filename="a%22b.mp4"', 'a"b.mp4'),
        (b"filename=\"x.mp4\"; filename*=UTF-8''Fu%C3%9Fball.mp4", "Fußball.mp4"),
        (b"filename*=iso-8859-1'de'Fu%DFball.mp4", "Fußball.mp4"),
        (b'filename="' + b"x" * 300 + b'.mp4"', "x" * 255),
    ],
)
def test_the_name_is_by_default_that_of_the_file_without_its_path(
    client: FlaskClient, video: bytes, disposition: bytes, name: str | None
) -> None:
    assert name_of(client, client.post("/video/submit", **form(video, disposition))) == name


def test_a_field_name_replaces_the_name_of_the_file_and_undecodable_bytes_are_replaced(
    client: FlaskClient, video: bytes
) -> None:
    response = client.post("/video/submit", **form(video, b'filename="file.mp4"', b"mine\xff"))
    assert name_of(client, response) == "mine\ufffd"


def test_the_name_is_in_no_key_not_in_the_status_and_not_compared(client: FlaskClient, video: bytes) -> None:
    header = {"Idempotency-Key": "k"}
    sent = [
        client.post("/video/submit", headers=header, **form(video, b'filename="%s.mp4"' % name))
        for name in (b"one", b"two")
    ]
    first, second = (response.get_json() for response in sent)
    assert first == second
    assert name_of(client, sent[0]) == "one.mp4"
    services = services_of(client.application)
    assert "one" not in stored(services.store, uuid.UUID(first["job_id"])).input_key
    assert set(client.get(f"/video/status/{first['job_id']}").get_json()) == {
        "job_id",
        "status",
        "progress",
        "created_at",
        "updated_at",
        "error_message",
    }
