import base64
import gzip
import itertools
import json
import uuid

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from tests.support.records import new_job
from videoqueue.api import streaming as downloads
from videoqueue.errors import VideoqueueError
from videoqueue.jobs.results import encode
from videoqueue.jobs.store import Claim
from videoqueue.jobs.tables import ResultChunk
from videoqueue.jobs.types import ALL_OWNERS
from videoqueue.services import Services

ITEMS = [{"frame_index": index, "result": {"text": "Grüße", "timestamp": index / 10}} for index in range(3)]


@pytest.fixture
def claim(services: Services) -> Claim:
    claim = services.store.claim(services.store.create(new_job())[0], "worker")
    assert claim is not None
    return claim


@pytest.fixture
def completed(services: Services, claim: Claim) -> uuid.UUID:
    services.store.checkpoint(claim, 0, encode(ITEMS[:2]), [0, 1], 0.5)
    services.store.checkpoint(claim, 1, encode(ITEMS[2:]), [2], 0.9)
    services.store.complete(claim, services.results.etag(claim.job_id, ALL_OWNERS))
    return claim.job_id


def test_completed_results_are_the_contracts_body(client: FlaskClient, completed: uuid.UUID) -> None:
    answer = client.get(f"/video/results/{completed}")
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert list(answer.get_json()) == ["job_id", "results", "created_at", "updated_at"]
    assert answer.get_json()["job_id"] == str(completed)
    assert answer.get_json()["results"] == ITEMS


def test_results_do_not_change_and_need_not_be_sent_twice(client: FlaskClient, completed: uuid.UUID) -> None:
    first = client.get(f"/video/results/{completed}")
    again = client.get(f"/video/results/{completed}", headers={"If-None-Match": first.headers["ETag"]})
    assert not first.headers["ETag"].startswith("W/")
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize("read", [1, None], ids=["broken off", "whole"])
def test_a_thread_that_has_sent_results_waits_again_as_long_as_it_takes(
    client: FlaskClient, completed: uuid.UUID, monkeypatch: pytest.MonkeyPatch, read: int | None
) -> None:
    patience: list[float | None] = []
    monkeypatch.setattr(downloads, "set_deadline", patience.append)
    answer = client.get(f"/video/results/{completed}", buffered=False)
    pieces = list(itertools.islice(answer.response, read))
    answer.close()
    assert pieces
    assert patience[0] is not None
    assert patience[-1] is None


def test_a_job_that_is_not_finished_is_404(client: FlaskClient, claim: Claim) -> None:
    answer = client.get(f"/video/results/{claim.job_id}")
    assert (answer.status_code, answer.get_json()["code"]) == (404, "results_not_ready")
    assert "running" in answer.get_json()["detail"]
    assert answer.headers["Retry-After"] == "1"


def test_a_failed_job_is_404_with_its_reason(client: FlaskClient, services: Services, claim: Claim) -> None:
    services.store.fail(claim, "The file ends early.")
    answer = client.get(f"/video/results/{claim.job_id}")
    assert (answer.status_code, answer.get_json()["code"]) == (404, "job_failed")
    assert "The file ends early." in answer.get_json()["detail"]


def test_an_unknown_job_is_404(client: FlaskClient) -> None:
    answer = client.get(f"/video/results/{uuid.uuid4()}")
    assert (answer.status_code, answer.get_json()["code"]) == (404, "job_not_found")


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


GZIP = {"Accept-Encoding": "gzip"}


def test_gzip_holds_the_same_bytes_under_another_etag(client: FlaskClient, completed: uuid.UUID) -> None:
    plain = client.get(f"/video/results/{completed}")
    packed = client.get(f"/video/results/{completed}", headers=GZIP)
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"
    assert plain.headers["ETag"] != packed.headers["ETag"]
    assert not packed.headers["ETag"].startswith("W/")


def test_each_coding_is_unchanged_only_for_its_own_etag(client: FlaskClient, completed: uuid.UUID) -> None:
    path = f"/video/results/{completed}"
    plain = client.get(path).headers["ETag"]
    packed = client.get(path, headers=GZIP).headers["ETag"]
    assert client.get(path, headers=GZIP | {"If-None-Match": packed}).status_code == 304
    assert client.get(path, headers=GZIP | {"If-None-Match": plain}).status_code == 200
    assert client.get(path, headers={"If-None-Match": packed}).status_code == 200
    assert client.get(path, headers={"If-None-Match": f'"other", {plain}'}).status_code == 304
    assert client.get(path, headers={"If-None-Match": "*"}).status_code == 304


def test_a_304_reads_no_chunk_and_repeats_the_headers(
    client: FlaskClient, services: Services, completed: uuid.UUID
) -> None:
    first = client.get(f"/video/results/{completed}")
    with services.store.engine.begin() as connection:
        connection.execute(sa.delete(ResultChunk))
    again = client.get(f"/video/results/{completed}", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304
    assert {name: again.headers[name] for name in ("ETag", "Vary", "Cache-Control")} == {
        name: first.headers[name] for name in ("ETag", "Vary", "Cache-Control")
    }


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("*", "gzip"),
        ("br, deflate", None),
        ("gzip;q=0", None),
        ("gzip;q=0, *", None),
        ("gzip;q=0.5, identity", None),
        ("gzip, identity;q=0.5", "gzip"),
        ("gzip, identity;q=0", "gzip"),
        ("identity;q=0", "gzip"),
        ("gzip;q=0, identity;q=0", None),
        ("deflate, gzip;q=1.0, *;q=0.5", "gzip"),
    ],
)
def test_the_coding_is_the_one_the_client_prefers(
    client: FlaskClient, completed: uuid.UUID, accepted: str, coding: str | None
) -> None:
    answer = client.get(f"/video/results/{completed}", headers={"Accept-Encoding": accepted})
    assert answer.headers.get("Content-Encoding") == coding


def test_head_has_the_headers_and_no_body(client: FlaskClient, completed: uuid.UUID) -> None:
    got = client.get(f"/video/results/{completed}")
    head = client.head(f"/video/results/{completed}")
    assert (head.status_code, head.data) == (200, b"")
    assert (head.headers["ETag"], head.mimetype) == (got.headers["ETag"], got.mimetype)
    assert "Content-Length" not in head.headers


def test_pages_follow_each_other_to_the_end(client: FlaskClient, completed: uuid.UUID) -> None:
    path = f"/video/results/{completed}?page_size=2"
    first = client.get(path)
    assert list(first.get_json()) == ["job_id", "results", "created_at", "updated_at", "next_page_token"]
    assert first.get_json()["results"] == ITEMS[:2]
    second = client.get(f"{path}&page_token={first.get_json()['next_page_token']}")
    assert (second.get_json()["results"], second.get_json()["next_page_token"]) == (ITEMS[2:], None)
    whole = client.get(f"/video/results/{completed}")
    assert len({answer.headers["ETag"] for answer in (first, second, whole)}) == 3
    assert client.get(path, headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
    assert client.get(path, headers={"If-None-Match": second.headers["ETag"]}).status_code == 200


def test_a_token_alone_asks_for_a_page_too(client: FlaskClient, completed: uuid.UUID) -> None:
    token = client.get(f"/video/results/{completed}?page_size=1").get_json()["next_page_token"]
    answer = client.get(f"/video/results/{completed}?page_token={token}")
    assert (answer.get_json()["results"], answer.get_json()["next_page_token"]) == (ITEMS[1:], None)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("page_size=0", "takes a whole number from 1 to 1000"),
        ("page_size=1001", "takes a whole number from 1 to 1000"),
        ("page_size=ten", "takes a whole number"),
        ("page_size=1_0", "takes a whole number"),
        ("page_token=", "takes the `next_page_token`"),
        ("page_token=nonsense", "takes the `next_page_token`"),
        ("page_token=%C3%A9", "takes the `next_page_token`"),
        ("page=2", "There is no parameter 'page'. Known: page_size, page_token"),
    ],
)
def test_a_page_that_cannot_be_is_refused(
    client: FlaskClient, completed: uuid.UUID, query: str, says: str
) -> None:
    answer = client.get(f"/video/results/{completed}?{query}")
    assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_parameter")
    assert says in answer.get_json()["detail"]


def test_a_token_of_another_job_is_refused(client: FlaskClient, completed: uuid.UUID) -> None:
    foreign = base64.urlsafe_b64encode(b"0123456789abcdef.0.1").decode().rstrip("=")
    answer = client.get(f"/video/results/{completed}?page_token={foreign}")
    assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_parameter")


def test_results_that_were_sent_give_their_turn_back(client: FlaskClient, completed: uuid.UUID) -> None:
    """More often than there are turns; also those that were given up."""
    for _ in range(20):
        client.get(f"/video/results/{completed}", buffered=False).close()
        assert len(client.get(f"/video/results/{completed}").get_json()["results"]) == 3
