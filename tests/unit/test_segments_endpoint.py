"""GET /jobs/{job_id}/segments."""

from __future__ import annotations

import gzip
import json
import uuid

import pytest
from flask.testing import FlaskClient

from tests.support.records import new_job
from videoqueue.jobs.chunk_encoding import encode_chunk
from videoqueue.jobs.results import ResultReader
from videoqueue.jobs.segments import JobSegments
from videoqueue.jobs.store import Claim
from videoqueue.jobs.types import ALL_OWNERS
from videoqueue.services import Services

ITEMS = [
    {
        "frame_index": n,
        "result": {
            "text_blocks": [{"text": "GRÜSSE", "confidence": 0.9, "box": [1, 2, 30, 40]}],
            "detections": [{"label": "cat", "confidence": 0.6, "box": [1, 2, 30, 40]}],
            "timestamp": n / 10,
        },
    }
    for n in range(3)
]
CAT = {"label": "cat", "start": 0.0, "end": 0.3, "confidence": 0.6, "peak_count": 1}
GRUESSE = {"text": "GRÜSSE", "start": 0.0, "end": 0.3, "confidence": 0.9, "box": [1, 2, 30, 40]}


@pytest.fixture
def claim(services: Services) -> Claim:
    claim = services.store.claim(services.store.create(new_job())[0], "worker")
    assert claim is not None
    return claim


@pytest.fixture
def path(services: Services, claim: Claim) -> str:
    chunk = encode_chunk(ITEMS)
    services.store.checkpoint(claim, 0, chunk.payload, chunk.frames, 0.9, chunk.form)
    services.store.complete(claim, services.results.etag(claim.job_id, ALL_OWNERS))
    return f"/jobs/{claim.job_id}/segments"


def test_segments_are_labels_and_texts_by_time(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert (response.status_code, response.mimetype) == (200, "application/json")
    assert list(response.get_json()) == ["job_id", "labels", "texts", "truncated"]
    assert response.get_json() == {
        "job_id": path.split("/")[2],
        "labels": [CAT],
        "texts": [GRUESSE],
        "truncated": False,
    }
    again = client.get(path)  # now they are kept
    assert (again.data, again.headers["ETag"]) == (response.data, response.headers["ETag"])


def test_more_ranges_than_are_encoded_at_once_are_one_list(
    client: FlaskClient, services: Services, path: str
) -> None:
    labels = [CAT | {"start": float(n)} for n in range(2500)]
    made = {"labels": labels, "texts": [], "truncated": True}
    services.segments.keep(uuid.UUID(path.split("/")[2]), made)  # type: ignore[arg-type]
    response = client.get(path).get_json()
    assert (response["labels"], response["truncated"]) == (labels, True)


def test_a_least_confidence_leaves_ranges_out(client: FlaskClient, path: str) -> None:
    response = client.get(path, query_string={"min_confidence": "0.7"})
    assert (response.get_json()["labels"], response.get_json()["texts"]) == ([], [GRUESSE])
    assert response.headers["ETag"] != client.get(path).headers["ETag"]


@pytest.mark.parametrize(
    "given", ["", "-0.1", "1.1", "nan", "inf", "1e1", "1e999", "0x1", " 0.5", "0,5", "0_1", "٠", "0" * 401]
)
def test_what_is_no_confidence_is_refused(client: FlaskClient, path: str, given: str) -> None:
    response = client.get(path, query_string={"min_confidence": given})
    assert (response.status_code, response.get_json()["code"]) == (400, "invalid_parameter")
    assert "min_confidence takes a number from 0 to 1" in response.get_json()["detail"]


@pytest.mark.parametrize("given", ["0.7", "7e-1", "0.70000", "00.7", "0.7000000000000000000000"])
def test_a_confidence_is_a_number_in_any_form(client: FlaskClient, path: str, given: str) -> None:
    response = client.get(path, query_string={"min_confidence": given})
    assert (response.status_code, response.get_json()["labels"]) == (200, [])
    assert response.headers["ETag"] == client.get(f"{path}?min_confidence=0.7").headers["ETag"]


def test_an_unknown_or_repeated_parameter_is_refused(client: FlaskClient, path: str) -> None:
    unknown = client.get(f"{path}?confidence=1")
    assert (unknown.status_code, "Known: min_confidence." in unknown.get_json()["detail"]) == (400, True)
    assert client.get(f"{path}?min_confidence=0&min_confidence=1").status_code == 400


def test_unchanged_segments_are_neither_sent_nor_made(
    client: FlaskClient, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    etag = client.get(path).headers["ETag"]
    monkeypatch.delattr(JobSegments, "of")
    response = client.get(path, headers={"If-None-Match": etag})
    assert (response.status_code, response.data) == (304, b"")
    head = client.head(path)
    assert (head.status_code, head.headers["ETag"]) == (200, etag)


@pytest.mark.parametrize(
    ("sent", "status"), [("W/{}", 304), ('"x", W/{}', 304), ("*", 304), ('W/"x"', 200), ("x", 200), ("", 200)]
)
def test_a_tag_that_a_proxy_has_made_weak_is_compared_as_well(
    client: FlaskClient, path: str, sent: str, status: int
) -> None:
    etag = client.get(path).headers["ETag"]
    assert client.get(path, headers={"If-None-Match": sent.format(etag)}).status_code == status


def test_gzip_holds_the_same_bytes_under_another_etag(client: FlaskClient, path: str) -> None:
    plain, packed = client.get(path), client.get(path, headers={"Accept-Encoding": "gzip"})
    assert gzip.decompress(packed.data) == plain.data
    assert packed.headers["ETag"] != plain.headers["ETag"]


def test_jobs_without_results_are_404_as_at_the_results(
    client: FlaskClient, services: Services, claim: Claim
) -> None:
    path = f"/jobs/{claim.job_id}/segments"
    early = client.get(path)
    assert (early.status_code, early.get_json()["code"]) == (404, "results_not_ready")
    assert early.headers["Retry-After"] == "1"
    services.store.fail(claim, "The file ends early.")
    failed = client.get(path)
    assert (failed.status_code, failed.get_json()["code"]) == (404, "job_failed")
    unknown = client.get(f"/jobs/{uuid.uuid4()}/segments")
    assert (unknown.status_code, unknown.get_json()["code"]) == (404, "job_not_found")


def test_damaged_results_are_a_problem_and_not_half_a_body(
    client: FlaskClient, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ResultReader, "chunk", lambda *_: None)
    response = client.get(path)
    assert (response.status_code, json.loads(response.data)["code"]) == (500, "internal_error")


def test_the_slot_is_free_again_after_an_error(
    client: FlaskClient, services: Services, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ResultReader, "chunk", lambda *_: None)
        for _ in range(services.settings.max_concurrent_downloads + 1):
            assert client.get(path).status_code == 500
    assert client.get(path).status_code == 200
