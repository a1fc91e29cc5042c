import re
import uuid

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from tests.support.records import new_job
from videoqueue.jobs.tables import JobRow
from videoqueue.services import Services

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.fixture
def job_id(services: Services) -> uuid.UUID:
    return services.store.create(new_job())[0]


def test_a_pending_job(client: FlaskClient, job_id: uuid.UUID) -> None:
    answer = client.get(f"/video/status/{job_id}")
    assert answer.status_code == 200
    assert list(answer.json) == ["job_id", "status", "progress", "created_at", "updated_at", "error_message"]
    assert answer.json["job_id"] == str(job_id)
    assert (answer.json["status"], answer.json["progress"]) == ("pending", 0.0)
    assert RFC3339.fullmatch(answer.json["created_at"])
    assert answer.json["error_message"] is None
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Retry-After"] == "1"


def test_a_running_job_shows_progress_in_tenths(
    client: FlaskClient, services: Services, job_id: uuid.UUID
) -> None:
    claim = services.store.claim(job_id, "worker")
    services.store.checkpoint(claim, 0, b"{}", [0], 0.77)
    answer = client.get(f"/video/status/{job_id}")
    assert (answer.json["status"], answer.json["progress"]) == ("running", 0.7)


def test_a_completed_job(client: FlaskClient, services: Services, job_id: uuid.UUID) -> None:
    services.store.complete(services.store.claim(job_id, "worker"), "etag")
    answer = client.get(f"/video/status/{job_id}")
    assert (answer.json["status"], answer.json["progress"]) == ("completed", 1.0)
    assert "Retry-After" not in answer.headers


def test_a_failed_job_says_why(client: FlaskClient, services: Services, job_id: uuid.UUID) -> None:
    services.store.fail(services.store.claim(job_id, "worker"), "The file ends early.")
    answer = client.get(f"/video/status/{job_id}")
    assert (answer.json["status"], answer.json["error_message"]) == ("failed", "The file ends early.")


def test_the_error_of_a_try_that_will_be_repeated_is_not_shown(
    client: FlaskClient, services: Services, job_id: uuid.UUID
) -> None:
    services.store.release(services.store.claim(job_id, "worker"), "failures", "storage away", 60)
    answer = client.get(f"/video/status/{job_id}")
    assert (answer.json["status"], answer.json["error_message"]) == ("pending", None)


@pytest.mark.parametrize("unknown", [str(uuid.UUID(int=0)), "7", "x" * 36, "%00", "{}".format("é" * 36)])
def test_an_unknown_or_malformed_id_is_404(client: FlaskClient, unknown: str) -> None:
    answer = client.get(f"/video/status/{unknown}")
    assert (answer.status_code, answer.json["code"]) == (404, "job_not_found")
    assert answer.mimetype == "application/problem+json"


def test_a_database_that_is_away_is_503(client: FlaskClient, services: Services, job_id: uuid.UUID) -> None:
    with services.store.engine.begin() as connection:
        connection.execute(sa.text(f"DROP TABLE {JobRow.__tablename__}"))
    answer = client.get(f"/video/status/{job_id}")
    assert (answer.status_code, answer.json["code"]) == (503, "database_unavailable")
    assert answer.headers["Retry-After"] == "5"
