import json
import uuid

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from videoqueue.errors import VideoqueueError
from videoqueue.jobs.models import ResultChunk
from videoqueue.jobs.results import encode
from videoqueue.jobs.store import Claim, NewJob
from videoqueue.services import Services

ITEMS = [{"frame_index": index, "result": {"text": "Grüße", "timestamp": index / 10}} for index in range(3)]


@pytest.fixture
def claim(services: Services) -> Claim:
    new = NewJob(
        pipeline_id="p", frame_stride=1, max_frames=None, input_key="k", input_bytes=1, input_sha256="0"
    )
    claim = services.store.claim(services.store.create(new)[0], "worker")
    assert claim is not None
    return claim


@pytest.fixture
def completed(services: Services, claim: Claim) -> uuid.UUID:
    services.store.checkpoint(claim, 0, encode(ITEMS[:2]), [0, 1], 0.5)
    services.store.checkpoint(claim, 1, encode(ITEMS[2:]), [2], 0.9)
    services.store.complete(claim, services.results.etag(claim.job_id))
    return claim.job_id


def test_completed_results_are_the_contracts_body(client: FlaskClient, completed: uuid.UUID) -> None:
    answer = client.get(f"/video/results/{completed}")
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert list(answer.json) == ["job_id", "results", "created_at", "updated_at"]
    assert answer.json["job_id"] == str(completed)
    assert answer.json["results"] == ITEMS


def test_results_do_not_change_and_need_not_be_sent_twice(client: FlaskClient, completed: uuid.UUID) -> None:
    first = client.get(f"/video/results/{completed}")
    again = client.get(f"/video/results/{completed}", headers={"If-None-Match": first.headers["ETag"]})
    assert not first.headers["ETag"].startswith("W/")
    assert (again.status_code, again.data) == (304, b"")


def test_a_job_that_is_not_finished_is_404(client: FlaskClient, claim: Claim) -> None:
    answer = client.get(f"/video/results/{claim.job_id}")
    assert (answer.status_code, answer.json["code"]) == (404, "results_not_ready")
    assert "running" in answer.json["detail"]
    assert answer.headers["Retry-After"] == "1"


def test_a_failed_job_is_404_with_its_reason(client: FlaskClient, services: Services, claim: Claim) -> None:
    services.store.fail(claim, "The file ends early.")
    answer = client.get(f"/video/results/{claim.job_id}")
    assert (answer.status_code, answer.json["code"]) == (404, "job_failed")
    assert "The file ends early." in answer.json["detail"]


def test_an_unknown_job_is_404(client: FlaskClient) -> None:
    answer = client.get(f"/video/results/{uuid.uuid4()}")
    assert (answer.status_code, answer.json["code"]) == (404, "job_not_found")


def test_a_damaged_result_breaks_off_instead_of_ending_validly(
    client: FlaskClient, services: Services, completed: uuid.UUID
) -> None:
    with services.store.engine.begin() as connection:
        connection.execute(sa.delete(ResultChunk).where(ResultChunk.seq == 1))
    answer = client.get(f"/video/results/{completed}", buffered=False)
    sent: list[bytes] = []
    with pytest.raises(VideoqueueError, match="damaged"):
        sent.extend(answer.iter_encoded())
    with pytest.raises(json.JSONDecodeError):
        json.loads(b"".join(sent))
