"""What an attempt that did not end well costs a job: setbacks, expired leases, the time worked."""

import time
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from tests.support.job_rows import GAVE_UP, NEW, age, claimed, row
from tests.support.records import stored
from videoqueue.errors import DatabaseUnavailableError
from videoqueue.jobs.database import writing
from videoqueue.jobs.store import JobStore


def test_one_passing_error_too_many_fails_the_job(store: JobStore) -> None:
    job_id, _ = store.create(NEW)
    for waits in (True, True, False):
        claim = store.claim(job_id, "worker")
        assert claim is not None
        assert store.release(claim, "failures", "storage away") is waits
    job = stored(store, job_id)
    assert (job.status, job.error_message) == ("failed", f"{GAVE_UP}storage away")


@pytest.mark.parametrize("length", [1000 - len(GAVE_UP), 1001 - len(GAVE_UP), 1000])
def test_the_reason_of_a_job_that_is_given_up_has_at_most_1000_characters(
    store: JobStore, length: int
) -> None:
    reason = "x" * length
    job_id, _ = store.create(NEW)
    for _ in range(3):
        claim = store.claim(job_id, "worker")
        assert claim is not None
        store.release(claim, "failures", reason)
    whole = GAVE_UP + reason
    assert stored(store, job_id).error_message == (whole if len(whole) <= 1000 else f"{whole[:999]}…")


def test_a_committed_chunk_forgives_earlier_setbacks(store: JobStore) -> None:
    claim = claimed(store)
    store.release(claim, "failures", "x")
    again = store.claim(claim.job_id, "worker")
    assert again is not None
    store.checkpoint(again, 0, b"a", [0], 0.1)
    assert (row(store, again).failures, row(store, again).crashes) == (0, 0)


def test_an_interruption_counts_as_nothing(store: JobStore) -> None:
    claim = claimed(store)
    store.release(claim, "interruption", None)
    job = row(store, claim)
    assert (job.status, job.failures, job.crashes, job.attempt) == ("pending", 0, 0, 1)


def test_only_a_dead_lease_expires(store: JobStore) -> None:
    claim = claimed(store)
    assert not store.expire(claim.job_id)
    age(store, claim.job_id, lease_until=21)
    assert store.expire(claim.job_id)
    job = row(store, claim)
    assert (job.status, job.crashes, job.lease_until) == ("pending", 1, None)


def test_a_lease_that_ended_unnoticed_can_still_be_renewed(store: JobStore) -> None:
    claim = claimed(store)
    age(store, claim.job_id, lease_until=50)
    store.renew(claim)
    assert not store.expire(claim.job_id)
    job = row(store, claim)
    assert job.lease_until is not None
    assert job.lease_until > job.updated_at + 19_000_000


def test_after_a_failed_call_a_process_expires_nothing_until_others_could_renew(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = claimed(store)
    age(store, claim.job_id, lease_until=21)
    clock = time.monotonic()
    ours = SimpleNamespace(monotonic=lambda: clock, time_ns=time.time_ns)
    monkeypatch.setattr("videoqueue.jobs.database.time", ours)
    with pytest.raises(DatabaseUnavailableError), writing(store.engine):
        raise sa.exc.OperationalError("SELECT 1", None, Exception("the server is gone"))
    assert not store.expire(claim.job_id)
    clock += 7.9
    assert not store.expire(claim.job_id)
    clock += 0.2
    assert store.expire(claim.job_id)


@pytest.mark.parametrize("end", ["complete", "fail", "release"])
def test_the_time_of_every_attempt_is_added_up(store: JobStore, end: str) -> None:
    claim = claimed(store)
    assert claim.worked_seconds == 0
    for attempt in (1, 2):
        age(store, claim.job_id, claimed_at=100)
        assert store.release(claim, "interruption", None)
        assert row(store, claim).claimed_at is None
        again = store.claim(claim.job_id, "worker")
        assert again is not None
        claim = again
        assert claim.worked_seconds == pytest.approx(100 * attempt, abs=50)
    age(store, claim.job_id, claimed_at=100)
    getattr(store, end)(claim, *{"complete": ["e"], "fail": ["why"], "release": ["crashes", "why"]}[end])
    assert row(store, claim).claimed_at is None
    assert row(store, claim).worked / 1_000_000 == pytest.approx(300, abs=50)


def test_an_attempt_whose_worker_died_counts_to_the_end_of_its_lease(store: JobStore) -> None:
    claim = claimed(store)
    age(store, claim.job_id, claimed_at=1000, lease_until=900)
    job = row(store, claim)
    assert job.lease_until is not None
    assert job.claimed_at is not None
    assert store.expire(claim.job_id)
    assert row(store, claim).worked == job.lease_until - job.claimed_at
    assert row(store, claim).claimed_at is None


def test_a_clock_set_back_takes_no_time_off(store: JobStore) -> None:
    claim = claimed(store)
    age(store, claim.job_id, claimed_at=-1000)
    store.release(claim, "interruption", None)
    assert row(store, claim).worked == 0


def test_a_job_whose_worker_keeps_dying_fails(store: JobStore) -> None:
    job_id, _ = store.create(NEW)
    for _ in range(2):
        assert store.claim(job_id, "worker") is not None
        age(store, job_id, lease_until=21)
        assert store.expire(job_id)
    job = stored(store, job_id)
    assert job.status == "failed"
    assert (job.error_message or "").startswith(
        "The worker stopped 2 times in a row while processing this video (VIDEOQUEUE_MAX_CRASHES): "
    )
