"""A full backlog takes in nothing new."""

import uuid

import pytest

from tests.support.records import new_job
from videoqueue.jobs.queries import JobQueries
from videoqueue.jobs.store import JobStore
from videoqueue.jobs.types import NOBODY


def submit(store: JobStore, key: str | None = None) -> uuid.UUID:
    return store.create(new_job(input_key=uuid.uuid4().hex, idempotency_key=key))[0]


@pytest.mark.parametrize(("waiting", "full"), [(0, False), (1, False), (2, True), (3, True)])
def test_it_is_full_when_as_many_wait_as_may(store: JobStore, waiting: int, full: bool) -> None:
    for _ in range(waiting):
        submit(store)
    assert JobQueries(store.engine).is_backlog_full(2, NOBODY, None) is full


def test_without_a_limit_it_is_never_full(store: JobStore) -> None:
    submit(store)
    assert JobQueries(store.engine).is_backlog_full(0, NOBODY, None) is False


def test_a_job_that_runs_no_longer_waits(store: JobStore) -> None:
    store.claim(submit(store), "worker")
    assert JobQueries(store.engine).is_backlog_full(1, NOBODY, None) is False


def test_a_job_that_was_taken_in_before_is_not_new(store: JobStore) -> None:
    submit(store, "known")
    queries = JobQueries(store.engine)
    assert queries.is_backlog_full(1, NOBODY, "known") is False
    assert queries.is_backlog_full(1, NOBODY, "unknown") is True
    assert queries.is_backlog_full(1, "somebody else", "known") is True
