"""The list of jobs and of pipelines, and which parameters and ids are taken, on both databases."""

from __future__ import annotations

import uuid

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from tests.support.jobs_in_states import STATES, app, job_in, key_of, left, submitted, video
from tests.support.records import stored
from videoqueue.jobs.tables import JOB
from videoqueue.jobs.types import NOBODY
from videoqueue.services import Services

__all__ = ["app", "video"]


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


def test_the_pipelines_are_listed_with_the_default_one(client: FlaskClient) -> None:
    body = client.get("/pipelines").get_json()
    assert [(one["pipeline_id"], one["default"]) for one in body["pipelines"]] == [
        ("ocr_only", False),
        ("yolo_ocr", True),
        ("yolo_only", False),
    ]
    assert all(one["description"] for one in body["pipelines"])
    assert all(set(one) == {"pipeline_id", "default", "description"} for one in body["pipelines"])
