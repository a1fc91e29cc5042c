"""Chunks become exactly one JSON array; a missing one breaks the body instead of shortening it."""

import json
import uuid

import pytest
import sqlalchemy as sa

from tests.support.records import new_job
from videoqueue.errors import VideoqueueError
from videoqueue.jobs.results import ResultReader, encode
from videoqueue.jobs.results_by_page import Position, array_of_page
from videoqueue.jobs.store import JobStore
from videoqueue.jobs.tables import ResultChunk
from videoqueue.jobs.types import ALL_OWNERS

ITEMS = [
    {"frame_index": index, "result": {"text": f"número {index}", "timestamp": index / 10}}
    for index in range(5)
]


@pytest.fixture
def finished(store: JobStore) -> uuid.UUID:
    job_id, _ = store.create(new_job())
    claim = store.claim(job_id, "worker")
    assert claim is not None
    store.checkpoint(claim, 0, encode(ITEMS[:2]), [0, 1], 0.4)
    store.checkpoint(claim, 1, encode(ITEMS[2:]), [2, 3, 4], 0.9)
    store.complete(claim, ResultReader(store.engine).etag(job_id, ALL_OWNERS))
    return job_id


def test_chunks_read_back_as_one_array_in_order(store: JobStore, finished: uuid.UUID) -> None:
    reader = ResultReader(store.engine)
    assert (
        json.loads(b"".join(reader.array(finished, ALL_OWNERS, reader.etag(finished, ALL_OWNERS)))) == ITEMS
    )


def test_how_items_are_split_into_chunks_does_not_show(store: JobStore, finished: uuid.UUID) -> None:
    reader = ResultReader(store.engine)
    assert (
        b"".join(reader.array(finished, ALL_OWNERS, reader.etag(finished, ALL_OWNERS)))
        == b"[" + encode(ITEMS) + b"]"
    )


def test_a_job_without_chunks_reads_as_an_empty_array(store: JobStore) -> None:
    reader = ResultReader(store.engine)
    unknown = uuid.uuid4()
    assert b"".join(reader.array(unknown, ALL_OWNERS, reader.etag(unknown, ALL_OWNERS))) == b"[]"


@pytest.mark.parametrize("seq", [0, 1], ids=["first", "last"])
def test_a_missing_chunk_never_ends_validly(store: JobStore, finished: uuid.UUID, seq: int) -> None:
    reader = ResultReader(store.engine)
    etag = reader.etag(finished, ALL_OWNERS)
    with store.engine.begin() as connection:
        connection.execute(sa.delete(ResultChunk).where(ResultChunk.seq == seq))
    sent: list[bytes] = []
    with pytest.raises(VideoqueueError, match="damaged"):
        sent.extend(reader.array(finished, ALL_OWNERS, etag))
    assert not b"".join(sent).endswith(b"]")


def test_numbers_json_does_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode([{"frame_index": 0, "result": {"confidence": float("nan")}}])


def pages(reader: ResultReader, job_id: uuid.UUID, size: int) -> list[list[object]]:
    """Every page of the results, each as served."""
    found: list[list[object]] = []
    position: Position | None = Position()
    while position is not None:
        page = array_of_page(reader, job_id, ALL_OWNERS, reader.etag(job_id, ALL_OWNERS), position, size)
        pieces: list[bytes] = []
        while True:
            try:
                pieces.append(next(page))
            except StopIteration as end:
                position = end.value
                break
        found.append(json.loads(b"".join(pieces)))
    return found


@pytest.mark.parametrize("size", range(1, 7))
def test_pages_of_any_size_hold_each_item_once_in_order(
    store: JobStore, finished: uuid.UUID, size: int
) -> None:
    found = pages(ResultReader(store.engine), finished, size)
    assert [item for page in found for item in page] == ITEMS
    assert [len(page) for page in found[:-1]] == [size] * (len(found) - 1)
    assert 1 <= len(found[-1]) <= size


def test_a_page_of_a_job_without_chunks_is_the_only_one_and_empty(store: JobStore) -> None:
    assert pages(ResultReader(store.engine), uuid.uuid4(), 10) == [[]]


@pytest.mark.parametrize("seq", [0, 1], ids=["first", "last"])
def test_a_missing_chunk_is_not_taken_for_the_end_of_the_pages(
    store: JobStore, finished: uuid.UUID, seq: int
) -> None:
    reader = ResultReader(store.engine)
    etag = reader.etag(finished, ALL_OWNERS)
    with store.engine.begin() as connection:
        connection.execute(sa.delete(ResultChunk).where(ResultChunk.seq == seq))
    sent: list[bytes] = []
    with pytest.raises(VideoqueueError, match="damaged"):
        sent.extend(array_of_page(reader, finished, ALL_OWNERS, etag, Position(), 2))
    assert not b"".join(sent).endswith(b"]")
