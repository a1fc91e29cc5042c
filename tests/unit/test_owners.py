"""A job of another owner is treated as if it did not exist, by every read and write."""

import uuid
from typing import Any

import pytest

from tests.support.records import new_job
from videoqueue.errors import IdempotencyKeyReusedError
from videoqueue.jobs.deletion import DeletedJob, Deletions
from videoqueue.jobs.queries import JobQueries
from videoqueue.jobs.results import ResultReader, encode
from videoqueue.jobs.store import JobStore
from videoqueue.jobs.types import ALL_OWNERS, OwnerScope

ITEMS = [{"frame_index": 0, "result": {}}]
#: Later than every job of these tests ends.
LATER = 2**62


def submit(store: JobStore, owner: str, **changes: Any) -> uuid.UUID:
    return store.create(new_job(owner=owner, **changes))[0]


def failed(store: JobStore, owner: str) -> uuid.UUID:
    job_id = submit(store, owner)
    claim = store.claim(job_id, "worker")
    assert claim is not None
    store.checkpoint(claim, 0, encode(ITEMS), [0], 0.5)
    store.fail(claim, "why")
    return job_id


@pytest.mark.parametrize("owner", ["anna", ALL_OWNERS])
def test_an_owner_and_an_operator_find_the_job(store: JobStore, owner: OwnerScope) -> None:
    job_id = failed(store, "anna")
    queries, reader = JobQueries(store.engine), ResultReader(store.engine)
    job = store.get(job_id, owner)
    assert job is not None
    assert job.owner == "anna"
    assert queries.progress(job_id, owner) is not None
    assert [found.job_id for found in queries.latest(owner, 10)] == [job_id]
    assert queries.frames(job_id, owner) == 1
    assert (queries.count_ended(owner, -1), queries.ended(owner, -1, 10)[1]) == (1, [job_id])
    assert list(reader.chunks(job_id, owner)) == [encode(ITEMS)]
    again = store.retry(job_id, owner)
    assert again is not None
    assert store.get(again, "anna") is not None
    assert Deletions(store.engine, store.limits).delete(job_id, owner, LATER) == DeletedJob(
        job_id, "inputs/x.mp4"
    )


@pytest.mark.parametrize("owner", ["bert", ""])
def test_another_owner_and_nobody_do_not_find_it(store: JobStore, owner: str) -> None:
    job_id = failed(store, "anna")
    queries, reader = JobQueries(store.engine), ResultReader(store.engine)
    assert store.get(job_id, owner) is None
    assert queries.progress(job_id, owner) is None
    assert queries.latest(owner, 10) == []
    assert queries.frames(job_id, owner) == 0
    assert (queries.count_ended(owner, -1), queries.ended(owner, -1, 10)[1]) == (0, [])
    assert list(reader.chunks(job_id, owner)) == []
    assert reader.etag(job_id, owner) == reader.etag(uuid.uuid4(), owner)
    assert store.retry(job_id, owner) is None
    assert Deletions(store.engine, store.limits).delete(job_id, owner, LATER) is None
    assert store.get(job_id, "anna") is not None


def test_two_owners_can_use_the_same_idempotency_key(store: JobStore) -> None:
    first = submit(store, "anna", idempotency_key="k")
    second = submit(store, "bert", idempotency_key="k", frame_stride=3)
    assert first != second
    assert submit(store, "anna", idempotency_key="k") == first
    with pytest.raises(IdempotencyKeyReusedError):
        submit(store, "anna", idempotency_key="k", frame_stride=3)


def test_an_idempotency_key_expires_with_its_job(store: JobStore) -> None:
    job_id = submit(store, "anna", idempotency_key="k")
    claim = store.claim(job_id, "worker")
    assert claim is not None
    store.fail(claim, "why")
    assert Deletions(store.engine, store.limits).delete(job_id, "anna", LATER) is not None
    assert submit(store, "anna", idempotency_key="k", frame_stride=3) != job_id
