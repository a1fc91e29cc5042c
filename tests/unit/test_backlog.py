"""A full backlog takes in nothing new."""

import uuid

import pytest

from videoqueue.jobs.backlog import Backlog
from videoqueue.jobs.store import JobStore, NewJob


def submit(store: JobStore, key: str | None = None) -> uuid.UUID:
    new = NewJob(
        pipeline_id="p",
        frame_stride=1,
        max_frames=None,
        input_key=uuid.uuid4().hex,
        input_bytes=1,
        input_sha256="0",
        idempotency_key=key,
    )
    return store.create(new)[0]


@pytest.mark.parametrize(("waiting", "full"), [(0, False), (1, False), (2, True), (3, True)])
def test_it_is_full_when_as_many_wait_as_may(store: JobStore, waiting: int, full: bool) -> None:
    for _ in range(waiting):
        submit(store)
    assert Backlog(store.engine, 2).is_full(None) is full


def test_without_a_limit_it_is_never_full(store: JobStore) -> None:
    submit(store)
    assert Backlog(store.engine, 0).is_full(None) is False


def test_a_job_that_runs_no_longer_waits(store: JobStore) -> None:
    store.claim(submit(store), "worker")
    assert Backlog(store.engine, 1).is_full(None) is False


def test_a_job_that_was_taken_in_before_is_not_new(store: JobStore) -> None:
    submit(store, "known")
    backlog = Backlog(store.engine, 1)
    assert backlog.is_full("known") is False
    assert backlog.is_full("unknown") is True
    assert backlog.is_full("known", owner="somebody else") is True
