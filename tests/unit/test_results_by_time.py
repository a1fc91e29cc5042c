"""GET /jobs/{job_id}/results: the items of a span of time."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from tests.support.records import new_job
from videoqueue.errors import VideoqueueError
from videoqueue.jobs.chunk_encoding import encode_chunk
from videoqueue.jobs.results import ResultReader, encode
from videoqueue.jobs.tables import CHUNK, JOB
from videoqueue.jobs.types import ALL_OWNERS
from videoqueue.services import Services

ITEMS: list[dict[str, Any]] = [
    {"frame_index": index, "result": {"text": "Grüße", "timestamp": index / 10}} for index in range(100)
]

Complete = Callable[..., str]


@pytest.fixture(params=["this release", "the release before"])
def complete(request: pytest.FixtureRequest, services: Services) -> Complete:
    """Makes a completed job whose chunks have ten items, and returns the path of its results."""

    def make(items: list[dict[str, Any]] = ITEMS) -> str:
        claim = services.store.claim(services.store.create(new_job())[0], "worker")
        assert claim is not None
        for seq, start in enumerate(range(0, len(items), 10)):
            some = items[start : start + 10]
            if request.param == "the release before":
                frames = [item["frame_index"] for item in some]
                services.store.checkpoint(claim, seq, encode(some), frames, 0.5)
            else:
                chunk = encode_chunk(some)
                services.store.checkpoint(claim, seq, chunk.payload, chunk.frames, 0.5, chunk.form)
        services.store.complete(claim, services.results.etag(claim.job_id, ALL_OWNERS))
        return f"/jobs/{claim.job_id}/results"

    return make


@pytest.mark.parametrize(
    ("query", "first", "last", "next_from"),
    [
        ("", 0, 100, None),
        ("from=2.5", 25, 100, None),
        ("from=2.45&to=2.75", 25, 28, None),
        ("to=0.3", 0, 3, None),
        ("from=1&to=2", 10, 20, None),
        ("from=3&limit=7", 30, 37, 3.7),
        ("from=3&limit=10", 30, 40, 4.0),
        ("from=3&to=3.5&limit=5", 30, 35, None),
        ("from=9.9", 99, 100, None),
        ("from=10", 100, 100, None),
        ("from=5&to=5", 50, 50, None),
        ("from=6&to=5", 50, 50, None),
    ],
)
def test_a_span_has_the_items_of_its_time(
    client: FlaskClient, complete: Complete, query: str, first: int, last: int, next_from: float | None
) -> None:
    path = complete()
    response = client.get(f"{path}?{query}")
    assert (response.status_code, response.mimetype) == (200, "application/json")
    assert response.get_json() == {
        "job_id": path.split("/")[2],
        "results": ITEMS[first:last],
        "next_from": next_from,
    }


@pytest.mark.parametrize("limit", [1, 9, 10, 11, 1000])
def test_pages_by_time_have_each_item_once(client: FlaskClient, complete: Complete, limit: int) -> None:
    path, found = complete(), []
    following: Any = 0.0
    while following is not None:
        page = client.get(path, query_string={"from": repr(following), "limit": limit}).get_json()
        assert 1 <= len(page["results"]) <= limit
        found += page["results"]
        following = page["next_from"]
    assert found == ITEMS


def test_items_with_the_same_time_are_not_separated(client: FlaskClient, complete: Complete) -> None:
    items = [{"frame_index": n, "result": {"timestamp": n // 15 / 10}} for n in range(40)]
    path, found = complete(items), []
    following: Any = 0.0
    while following is not None:
        page = client.get(path, query_string={"from": repr(following), "limit": 4}).get_json()
        found += page["results"]
        following = page["next_from"]
    assert found == items


def test_times_before_0_count_as_0_so_that_no_item_is_skipped(
    client: FlaskClient, complete: Complete
) -> None:
    items = [{"frame_index": n, "result": {"timestamp": (n - 12) / 10}} for n in range(40)]
    path = complete(items)
    assert client.get(f"{path}?from=0&limit=13").get_json() == {
        "job_id": path.split("/")[2],
        "results": items[:13],
        "next_from": 0.1,
    }
    assert client.get(f"{path}?limit=1").get_json()["results"] == items[:13]
    assert client.get(f"{path}?from=0.1").get_json()["results"] == items[13:]
    assert client.get(f"{path}?to=0").get_json()["results"] == []


def test_chunks_before_the_span_are_not_read(
    client: FlaskClient, services: Services, complete: Complete, request: pytest.FixtureRequest
) -> None:
    path = complete()
    has_times = "this release" in request.node.name
    with services.store.engine.begin() as connection:
        connection.execute(sa.update(CHUNK).where(CHUNK.c.seq < 5).values(payload=b"unreadable"))
    response = client.get(f"{path}?from=6.5&limit=3", buffered=False)
    if has_times:
        assert json.loads(response.data)["results"] == ITEMS[65:68]
        return
    with pytest.raises(ValueError, match="Expecting value"):
        list(response.iter_encoded())
    response.close()


def test_a_missing_chunk_never_ends_validly(
    client: FlaskClient, services: Services, complete: Complete
) -> None:
    path = complete()
    with services.store.engine.begin() as connection:
        connection.execute(sa.delete(CHUNK).where(CHUNK.c.seq == 9))
    response = client.get(f"{path}?from=8.5", buffered=False)
    with pytest.raises(VideoqueueError, match="damaged"):
        list(response.iter_encoded())
    response.close()
    assert client.get(f"{path}?from=8.5&to=8.9").get_json()["results"] == ITEMS[85:89]


def test_results_of_a_job_that_is_deleted_meanwhile_break_off_and_are_no_bug(
    client: FlaskClient, services: Services, complete: Complete, caplog: pytest.LogCaptureFixture
) -> None:
    for is_whole in (False, True):
        path = complete()
        if is_whole:
            path = path.replace("/jobs/", "/video/results/").removesuffix("/results")
        response = client.get(path, buffered=False)
        pieces = response.iter_encoded()
        next(pieces)
        with services.store.engine.begin() as connection:
            connection.execute(sa.delete(JOB))
        with pytest.raises(ConnectionResetError):
            list(pieces)
        response.close()
    assert [line.levelname for line in caplog.records] == ["WARNING"] * 2


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "from=-1", "to=x", "from=1&from=2", "page_size=3", "from=1e400"]
)
def test_other_parameters_are_refused(client: FlaskClient, complete: Complete, query: str) -> None:
    response = client.get(f"{complete()}?{query}")
    assert (response.status_code, response.get_json()["code"]) == (400, "invalid_parameter")


def test_each_span_has_its_own_etag(
    client: FlaskClient, complete: Complete, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = complete()
    queries = ["", "from=1", "to=1", "limit=1", "from=1.00000001"]
    tags = [client.get(f"{path}?{query}").headers["ETag"] for query in queries]
    assert len(set(tags)) == len(tags)
    monkeypatch.delattr(ResultReader, "chunks_from")
    response = client.get(f"{path}?from=1", headers={"If-None-Match": tags[1]})
    assert (response.status_code, response.data) == (304, b"")


def test_jobs_without_results_are_404(client: FlaskClient, services: Services) -> None:
    job_id = services.store.create(new_job())[0]
    early = client.get(f"/jobs/{job_id}/results")
    assert (early.status_code, early.get_json()["code"]) == (404, "results_not_ready")
    unknown = client.get(f"/jobs/{uuid.uuid4()}/results")
    assert (unknown.status_code, unknown.get_json()["code"]) == (404, "job_not_found")
