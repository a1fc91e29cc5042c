import re
import uuid

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from tests.support.records import new_job
from videoqueue.jobs.store import Claim
from videoqueue.jobs.tables import JobRow
from videoqueue.services import Services

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.fixture
def job_id(services: Services) -> uuid.UUID:
    return services.store.create(new_job())[0]


def claimed(services: Services, job_id: uuid.UUID) -> Claim:
    claim = services.store.claim(job_id, "worker")
    assert claim is not None
    return claim


def test_a_pending_job(client: FlaskClient, job_id: uuid.UUID) -> None:
    answer = client.get(f"/video/status/{job_id}")
    assert answer.status_code == 200
    body = answer.get_json()
    assert list(body) == ["job_id", "status", "progress", "created_at", "updated_at", "error_message"]
    assert body["job_id"] == str(job_id)
    assert (body["status"], body["progress"]) == ("pending", 0.0)
    assert RFC3339.fullmatch(body["created_at"])
    assert body["error_message"] is None
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Retry-After"] == "1"


def test_a_running_job_shows_progress_in_tenths(
    client: FlaskClient, services: Services, job_id: uuid.UUID
) -> None:
    claim = claimed(services, job_id)
    services.store.checkpoint(claim, 0, b"{}", [0], 0.77)
    body = client.get(f"/video/status/{job_id}").get_json()
    assert (body["status"], body["progress"]) == ("running", 0.7)


def test_a_completed_job(client: FlaskClient, services: Services, job_id: uuid.UUID) -> None:
    services.store.complete(claimed(services, job_id), "etag")
    answer = client.get(f"/video/status/{job_id}")
    assert (answer.get_json()["status"], answer.get_json()["progress"]) == ("completed", 1.0)
    assert "Retry-After" not in answer.headers


def test_a_failed_job_says_why(client: FlaskClient, services: Services, job_id: uuid.UUID) -> None:
    services.store.fail(claimed(services, job_id), "The file ends early.")
    answer = client.get(f"/video/status/{job_id}")
    body = answer.get_json()
    assert (body["status"], body["error_message"]) == ("failed", "The file ends early.")


def test_the_error_of_a_try_that_will_be_repeated_is_not_shown(
    client: FlaskClient, services: Services, job_id: uuid.UUID
) -> None:
    services.store.release(claimed(services, job_id), "failures", "storage away", 60)
    body = client.get(f"/video/status/{job_id}").get_json()
    assert (body["status"], body["error_message"]) == ("pending", None)


@pytest.mark.parametrize("unknown", [str(uuid.UUID(int=0)), "7", "x" * 36, "%00", "{}".format("é" * 36)])
def test_an_unknown_or_malformed_id_is_404(client: FlaskClient, unknown: str) -> None:
    answer = client.get(f"/video/status/{unknown}")
    assert (answer.status_code, answer.get_json()["code"]) == (404, "job_not_found")
    assert answer.mimetype == "application/problem+json"


def test_a_database_that_is_away_is_503(client: FlaskClient, services: Services, job_id: uuid.UUID) -> None:
    with services.store.engine.begin() as connection:
        connection.execute(sa.text(f"DROP TABLE {JobRow.__tablename__}"))
    answer = client.get(f"/video/status/{job_id}")
    assert (answer.status_code, answer.get_json()["code"]) == (503, "database_unavailable")
    assert answer.headers["Retry-After"] == "5"
