"""The limits of an owner that refuse a submission, also when many submissions come at once."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tests.support.records import lease_policy, new_job
from videoqueue.errors import IdempotencyKeyReusedError, QuotaExceededError
from videoqueue.jobs.database import engine_options, prepare, reading
from videoqueue.jobs.deletion import Deletions
from videoqueue.jobs.owners import Limit, OwnerStore
from videoqueue.jobs.quotas import check_quota, limits_of
from videoqueue.jobs.store import JobStore
from videoqueue.jobs.tables import JOB
from videoqueue.jobs.types import ALL_OWNERS, NOBODY, OwnerLimits
from videoqueue.settings import load_settings


def submit(store: JobStore, owner: str = "anna", key: str | None = None, **changes: Any) -> uuid.UUID:
    video = f"inputs/{uuid.uuid4().hex}.mp4"
    return store.create(new_job(owner=owner, idempotency_key=key, input_key=video, **changes))[0]


def limited(store: JobStore, limit: Limit, value: int | None, owner: str = "anna") -> None:
    OwnerStore(store.engine).set_limits(owner, {limit: value})


@pytest.mark.parametrize("owner", ["anna", NOBODY])
def test_the_limit_of_pending_jobs_of_the_settings_holds_for_each_owner(engine: Engine, owner: str) -> None:
    store = JobStore(engine, lease_policy(), OwnerLimits(max_pending=2))
    submit(store, owner)
    submit(store, owner)
    with pytest.raises(
        QuotaExceededError, match=r"pending jobs of this owner is 2 .*VIDEOQUEUE_OWNER_MAX_PENDING"
    ):
        submit(store, owner)
    submit(store, "bert")


@pytest.mark.parametrize(
    ("given", "limits"),
    [({}, (5000, 0)), ({"VIDEOQUEUE_OWNER_MAX_PENDING": "7"}, (7, 7))],
    ids=["default", "set"],
)
def test_only_a_limit_that_is_set_holds_for_jobs_that_belong_to_nobody(
    engine: Engine, given: dict[str, str], limits: tuple[int, int]
) -> None:
    of_settings = OwnerLimits.of(load_settings(given))
    with reading(engine) as connection:
        found = [limits_of(connection, owner, of_settings).max_pending for owner in ("anna", NOBODY)]
    assert tuple(found) == limits


def test_a_job_that_has_started_is_not_pending(store: JobStore) -> None:
    limited(store, "max_pending", 1)
    job_id = submit(store)
    with pytest.raises(QuotaExceededError):
        submit(store)
    store.claim(job_id, "worker")
    submit(store)


def test_an_exception_replaces_the_limit_of_the_settings_in_both_directions(engine: Engine) -> None:
    store = JobStore(engine, lease_policy(), OwnerLimits(max_pending=2))
    limited(store, "max_pending", 1)
    submit(store)
    with pytest.raises(
        QuotaExceededError, match=r"pending jobs of this owner is 1 \(`videoqueue owners set`\)"
    ):
        submit(store)
    limited(store, "max_pending", 0)
    for _ in range(3):
        submit(store)
    limited(store, "max_pending", None)
    with pytest.raises(
        QuotaExceededError, match=r"pending jobs of this owner is 2 \(VIDEOQUEUE_OWNER_MAX_PENDING\)"
    ):
        submit(store)


def test_the_limit_of_stored_bytes_of_the_settings_is_named_in_its_refusal(engine: Engine) -> None:
    store = JobStore(engine, lease_policy(), OwnerLimits(max_stored_bytes=100))
    with pytest.raises(QuotaExceededError, match=r"100 bytes \(VIDEOQUEUE_OWNER_MAX_STORED_BYTES\)"):
        submit(store, input_bytes=101)


def test_stored_videos_count_until_their_job_is_removed(store: JobStore) -> None:
    limited(store, "max_stored_bytes", 100)
    job_id = submit(store, input_bytes=60)
    submit(store, input_bytes=40)
    with pytest.raises(QuotaExceededError, match=r"100 bytes \(`videoqueue owners set`\)"):
        submit(store, input_bytes=1)
    submit(store, "bert", input_bytes=1000)
    claim = store.claim(job_id, "worker")
    assert claim is not None
    store.fail(claim, "why")
    with pytest.raises(QuotaExceededError):
        submit(store, input_bytes=1)
    assert Deletions(store.engine, store.limits).delete(claim.job_id, "anna") is not None
    submit(store, input_bytes=40)


@pytest.mark.parametrize("limit", ["max_pending", "max_stored_bytes"])
def test_a_repeated_idempotency_key_gets_its_job_at_the_limit_too(store: JobStore, limit: Limit) -> None:
    job_id = submit(store, key="k")
    limited(store, limit, 1)
    assert submit(store, key="k") == job_id
    check_quota(store.engine, "anna", store.limits, 10, "k")
    with pytest.raises(QuotaExceededError):
        submit(store, key="another")
    with pytest.raises(QuotaExceededError):
        check_quota(store.engine, "anna", store.limits, 10, "another")
    with pytest.raises(QuotaExceededError):
        check_quota(store.engine, "anna", store.limits, 10, None)
    check_quota(store.engine, "bert", store.limits, 10, None)
    with pytest.raises(IdempotencyKeyReusedError):
        submit(store, key="k", frame_stride=7)


def test_a_new_try_of_a_failed_job_counts_as_pending_but_stores_no_further_video(store: JobStore) -> None:
    claim = store.claim(submit(store), "worker")
    assert claim is not None
    store.fail(claim, "why")
    limited(store, "max_pending", 1)
    limited(store, "max_stored_bytes", 10)
    assert store.retry(claim.job_id, "anna") is not None
    with pytest.raises(QuotaExceededError):
        store.retry(claim.job_id, "anna")
    assert store.retry(claim.job_id, ALL_OWNERS) is not None


def test_a_video_that_a_retry_shares_counts_once_as_long_as_one_of_its_jobs_is_there(store: JobStore) -> None:
    limited(store, "max_stored_bytes", 100)
    claim = store.claim(submit(store, input_bytes=60), "worker")
    assert claim is not None
    store.fail(claim, "why")
    retried = store.retry(claim.job_id, "anna")
    assert retried is not None
    assert OwnerStore(store.engine).all()[0].stored_bytes == 60
    check_quota(store.engine, "anna", store.limits, 40, None)
    submit(store, input_bytes=40)
    with pytest.raises(QuotaExceededError, match="have 100 bytes"):
        submit(store, input_bytes=1)
    deletions = Deletions(store.engine, store.limits)
    assert deletions.delete(claim.job_id, "anna") is not None
    with pytest.raises(QuotaExceededError, match="have 100 bytes"):
        submit(store, input_bytes=1)
    assert deletions.delete(retried, "anna") is not None
    assert OwnerStore(store.engine).all()[0].stored_bytes == 40
    submit(store, input_bytes=60)


@pytest.mark.parametrize("known", ["owner with a row", "owner without a row"])
def test_200_submissions_at_once_of_an_owner_who_may_have_10_leave_exactly_10(
    engine: Engine, known: str
) -> None:
    by_setting = known == "owner without a row"
    limits = OwnerLimits(max_pending=10 if by_setting else 0)
    if not by_setting:
        OwnerStore(engine).set_limits("anna", {"max_pending": 10})
    barrier = threading.Barrier(20)

    def client(number: int) -> list[bool]:
        own = sa.create_engine(engine.url, **engine_options(str(engine.url), 1))
        prepare(own)
        store = JobStore(own, lease_policy(), limits)
        barrier.wait()
        taken = [_is_taken(store, f"{number}-{index}") for index in range(10)]
        own.dispose()
        return taken

    with ThreadPoolExecutor(20) as pool:
        taken = [one for some in pool.map(client, range(20)) for one in some]
    assert (len(taken), sum(taken)) == (200, 10)
    with engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(JOB)).scalar_one() == 10


def _is_taken(store: JobStore, key: str, **changes: Any) -> bool:
    try:
        submit(store, key=key, **changes)
    except QuotaExceededError:
        return False
    return True


def test_submissions_and_retries_at_once_fill_the_limit_of_stored_bytes_exactly(engine: Engine) -> None:
    store = JobStore(engine, lease_policy(), OwnerLimits(max_stored_bytes=100))
    claim = store.claim(submit(store, input_bytes=60), "worker")
    assert claim is not None
    store.fail(claim, "why")
    barrier = threading.Barrier(6)

    def client(number: int) -> bool:
        own = sa.create_engine(engine.url, **engine_options(str(engine.url), 1))
        prepare(own)
        store = JobStore(own, lease_policy(), OwnerLimits(max_stored_bytes=100))
        barrier.wait()
        if number % 2:
            taken = store.retry(claim.job_id, "anna") is None
        else:
            taken = _is_taken(store, f"{number}", input_bytes=20)
        own.dispose()
        return taken

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(client, range(6))) == 2
    assert [(owner.jobs, owner.stored_bytes) for owner in OwnerStore(engine).all()] == [(6, 100)]


def test_the_same_key_at_once_makes_one_job_at_the_limit(engine: Engine) -> None:
    barrier = threading.Barrier(8)

    def client(_: int) -> uuid.UUID:
        own = sa.create_engine(engine.url, **engine_options(str(engine.url), 1))
        prepare(own)
        store = JobStore(own, lease_policy(), OwnerLimits(max_pending=1))
        barrier.wait()
        job_id = submit(store, key="k")
        own.dispose()
        return job_id

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(client, range(8)))) == 1


def test_owners_without_a_limit_of_their_own_are_not_listed_for_having_had_a_turn(store: JobStore) -> None:
    job_id = submit(store)
    claim = store.claim(job_id, "worker")
    assert claim is not None
    store.fail(claim, "why")
    assert Deletions(store.engine, store.limits).delete(job_id, "anna") is not None
    assert OwnerStore(store.engine).all() == []
