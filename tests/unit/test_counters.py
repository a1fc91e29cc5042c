"""The counters count each event of a job once, with the change of its row or not at all."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tests.support.records import lease_policy, new_job
from tests.support.stack import eventually
from videoqueue.errors import DatabaseUnavailableError, LeaseLostError, QuotaExceededError
from videoqueue.jobs.counters import SHARDS, Count, Labels, raise_counters, read_counters
from videoqueue.jobs.database import writing
from videoqueue.jobs.deletion import Deletions
from videoqueue.jobs.measures import BOUNDS, bucket_of
from videoqueue.jobs.metrics import snapshot
from videoqueue.jobs.store import Claim, JobStore
from videoqueue.jobs.tables import COUNTER, JOB
from videoqueue.jobs.types import ALL_OWNERS, OwnerLimits, Setback
from videoqueue.pipeline.decode.video_info import VideoInfo

Counted = dict[str, dict[Labels, int]]

_ONLY_ON_POSTGRES = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)


def all_counted(store: JobStore) -> Counted:
    with store.engine.connect() as connection:
        return read_counters(connection)


def counted(store: JobStore) -> Counted:
    """All counters but those of times, which differ; of these, only how many times were observed."""
    counts: Counted = {}
    for name, values in all_counted(store).items():
        if name.endswith("_sum"):
            continue
        for labels, value in values.items():
            kind, key = (name[:-7], labels[:-1]) if name.endswith("_bucket") else (name, labels)
            of_kind = counts.setdefault(kind, {})
            of_kind[key] = of_kind.get(key, 0) + value
    return counts


def claimed(store: JobStore, **changes: Any) -> Claim:
    claim = store.claim(store.create(new_job(**changes))[0], "worker")
    assert claim is not None
    return claim


def move(store: JobStore, claim: Claim, **columns: int) -> None:
    """Moves times of a row; seconds."""
    changes = {name: JOB.c[name] + seconds * 1_000_000 for name, seconds in columns.items()}
    with store.engine.begin() as connection:
        connection.execute(sa.update(JOB).where(JOB.c.job_id == claim.job_id).values(changes))


#: What each job counts from its submission to its first start.
STARTED: Counted = {"jobs_submitted": {("ocr_only",): 1}, "job_wait_seconds": {(): 1}}
FAILED: Counted = {
    "jobs_finished": {("failed", "ocr_only"): 1},
    "job_duration_seconds": {("failed",): 1},
}


def test_a_completed_job_is_counted_when_it_ends(store: JobStore) -> None:
    claim = store.begin(claimed(store), "a" * 64)
    store.checkpoint(claim, 0, b"a,b", [0, 2], 0.5)
    store.checkpoint(claim, 1, b"c,d,e", [4, 6, 8], 0.9)
    store.renew(claim)
    assert counted(store) == STARTED
    store.complete(claim, "etag", VideoInfo(duration=4.504505), 7)
    ended: Counted = {
        "jobs_finished": {("completed", "ocr_only"): 1},
        "job_duration_seconds": {("completed",): 1},
        "frames": {("ocr_only",): 5},
        "video_seconds": {("ocr_only",): 4_504_505},
    }
    assert counted(store) == STARTED | ended
    store.complete(claim, "etag", VideoInfo(duration=4.504505), 7)  # again, as after a lost reply
    assert counted(store) == STARTED | ended


def test_times_are_those_of_the_rows(store: JobStore) -> None:
    for seconds in (400, 4000):
        claim = claimed(store)
        move(store, claim, started_at=-seconds)
        store.fail(claim, "not a video")
    spent = sa.select(sa.func.sum(JOB.c.finished_at - JOB.c.started_at))
    with store.engine.connect() as connection:
        worked = int(connection.execute(spent).scalar_one())
    found = all_counted(store)
    assert found["job_duration_seconds_sum"] == {("failed",): worked}
    assert found["job_duration_seconds_bucket"] == {("failed", "600"): 1, ("failed", "7200"): 1}


def test_the_wait_is_counted_up_to_the_first_start(store: JobStore) -> None:
    job_id, _ = store.create(new_job())
    with store.engine.begin() as connection:
        connection.execute(sa.update(JOB).values(created_at=JOB.c.created_at - 400_000_000))
    assert store.claim(job_id, "worker") is not None
    with store.engine.connect() as connection:
        waited = int(connection.execute(sa.select(JOB.c.started_at - JOB.c.created_at)).scalar_one())
    found = all_counted(store)
    assert found["job_wait_seconds_sum"] == {(): waited}
    assert found["job_wait_seconds_bucket"] == {("600",): 1}


@pytest.mark.parametrize(
    ("setback", "kind"), [("failures", "error"), ("crashes", "crash"), ("interruption", "interruption")]
)
def test_a_setback_is_counted_and_the_next_start_is_not(store: JobStore, setback: Setback, kind: str) -> None:
    claim = claimed(store)
    assert store.release(claim, setback, "why")
    assert store.claim(claim.job_id, "other") is not None
    assert counted(store) == STARTED | {"job_setbacks": {(kind,): 1}}


def test_the_setback_that_fails_a_job_is_counted_as_both(store: JobStore) -> None:
    claim = claimed(store)
    for _ in range(3):
        waits = store.release(claim, "failures", "why")
        claim = store.claim(claim.job_id, "other") or claim
    assert not waits
    assert counted(store) == STARTED | FAILED | {"job_setbacks": {("error",): 3}}


def test_an_expired_lease_is_counted_once(store: JobStore) -> None:
    claim = claimed(store)
    move(store, claim, lease_until=-60)
    assert store.expire(claim.job_id)
    assert not store.expire(claim.job_id)
    assert counted(store) == STARTED | {"job_setbacks": {("expired_lease",): 1}}


def test_an_attempt_that_lost_its_job_counts_nothing(store: JobStore) -> None:
    claim = claimed(store)
    move(store, claim, lease_until=-60)
    store.expire(claim.job_id)
    assert store.claim(claim.job_id, "other") is not None
    before = counted(store)
    writes: tuple[Callable[[], object], ...] = (
        lambda: store.complete(claim, "etag"),
        lambda: store.fail(claim, "why"),
        lambda: store.release(claim, "crashes", "why"),
    )
    for write in writes:
        with pytest.raises(LeaseLostError):
            write()
    assert counted(store) == before


def test_a_repeated_and_a_refused_submission_count_nothing(engine: Engine) -> None:
    store = JobStore(engine, lease_policy(), OwnerLimits(max_pending=1))
    for _ in range(2):
        store.create(new_job(idempotency_key="same"))
    with pytest.raises(QuotaExceededError):
        store.create(new_job())
    assert counted(store) == {"jobs_submitted": {("ocr_only",): 1}}


def test_a_retry_is_one_more_job(store: JobStore) -> None:
    claim = claimed(store)
    store.fail(claim, "not a video")
    for _ in range(2):
        store.retry_once(claim.job_id, ALL_OWNERS, None, "same")
    assert counted(store) == STARTED | FAILED | {"jobs_submitted": {("ocr_only",): 2}}


def test_a_deletion_lowers_nothing_and_counts_the_jobs_that_had_not_ended(store: JobStore) -> None:
    deletions = Deletions(store.engine, store.limits)
    ended = claimed(store)
    store.complete(ended, "etag")
    before = counted(store)
    assert deletions.delete(ended.job_id, ALL_OWNERS, ended_before=2**62)
    assert counted(store) == before
    for job_id in (claimed(store).job_id, store.create(new_job())[0]):
        assert deletions.delete(job_id, ALL_OWNERS)
        assert deletions.delete(job_id, ALL_OWNERS) is None
    outcomes = {("completed", "ocr_only"): 1, ("deleted", "ocr_only"): 2}
    assert counted(store)["jobs_finished"] == outcomes


def test_a_clock_that_was_set_back_counts_no_time(store: JobStore) -> None:
    claim = claimed(store)
    move(store, claim, started_at=3600)
    store.fail(claim, "not a video")
    assert all_counted(store)["job_duration_seconds_sum"] == {("failed",): 0}


def test_a_job_does_not_change_if_it_cannot_be_counted(store: JobStore) -> None:
    claim = claimed(store)
    pending, _ = store.create(new_job(owner="anna"))
    with store.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE counter RENAME TO away"))
        rows = connection.execute(sa.select(JOB).order_by(JOB.c.job_id)).all()
    writes: tuple[Callable[[], object], ...] = (
        lambda: store.create(new_job()),
        lambda: store.claim(pending, "other"),
        lambda: store.complete(claim, "etag"),
        lambda: store.fail(claim, "why"),
        lambda: store.release(claim, "failures", "why"),
        lambda: Deletions(store.engine, store.limits).delete(claim.job_id, ALL_OWNERS),
    )
    for write in writes:
        with pytest.raises(DatabaseUnavailableError):
            write()
    with store.engine.connect() as connection:
        assert connection.execute(sa.select(JOB).order_by(JOB.c.job_id)).all() == rows


def test_counts_of_many_threads_are_exact(store: JobStore) -> None:
    """They claim each other's jobs, and most raise the same counters."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for number in range(6):
                claim = store.claim(store.create(new_job())[0], "worker")
                assert claim is not None
                if number % 2:
                    store.checkpoint(claim, 0, b"a,b", [0, 1], 0.5)
                    store.complete(claim, "etag", VideoInfo(duration=0.1))
                else:
                    store.fail(claim, "why")
        except BaseException as error:  # noqa: BLE001 - reported by the test
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    found = counted(store)
    assert found["jobs_submitted"] == {("ocr_only",): 24}
    assert found["jobs_finished"] == {("completed", "ocr_only"): 12, ("failed", "ocr_only"): 12}
    assert found["frames"] == {("ocr_only",): 24}
    assert found["video_seconds"] == {("ocr_only",): 1_200_000}


@_ONLY_ON_POSTGRES
def test_transactions_that_raise_the_same_counters_wait_for_each_other_in_one_order(engine: Engine) -> None:
    """A third transaction holds the middle counter until both wait, each of which has taken what it could."""
    job_id, names = uuid.uuid4(), ["a", "b", "c"]
    errors: list[BaseException] = []

    def work(order: list[str]) -> None:
        try:
            with writing(engine) as connection:
                raise_counters(connection, job_id, map(Count, order))
        except BaseException as error:  # noqa: BLE001 - reported by the test
            errors.append(error)

    def waiting() -> bool:
        with engine.connect() as connection:
            waits = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            return bool(connection.execute(waits).scalar_one() == 2)

    work(names)
    threads = [threading.Thread(target=work, args=(order,)) for order in (names, names[::-1])]
    with writing(engine) as connection:
        raise_counters(connection, job_id, [Count("b")])
        for thread in threads:
            thread.start()
        eventually(waiting, "both wait")
    for thread in threads:
        thread.join()
    assert errors == []
    with engine.connect() as connection:
        assert read_counters(connection) == {"a": {(): 3}, "b": {(): 4}, "c": {(): 3}}


def test_jobs_are_spread_over_the_shards(store: JobStore) -> None:
    with writing(store.engine) as connection:
        for number in range(2 * SHARDS):
            raise_counters(connection, uuid.UUID(int=number), [Count("a"), Count("a", amount=2)])
    with store.engine.connect() as connection:
        rows = connection.execute(sa.select(COUNTER.c.shard, COUNTER.c.value)).all()
    assert sorted(rows) == [(shard, 6) for shard in range(SHARDS)]


def test_a_snapshot_is_of_one_moment(store: JobStore) -> None:
    """Another process accepts a job while the snapshot is read."""
    store.create(new_job())
    done: list[str] = []

    def interfere(_c: object, _u: object, statement: str, *_: object) -> None:
        if "FROM counter" in statement and not done:
            done.append(statement)
            store.create(new_job())

    sa.event.listen(store.engine, "before_cursor_execute", interfere)
    found = snapshot(store.engine, 60)
    assert done
    assert found.jobs["pending"] == found.counters["jobs_submitted"]["ocr_only",] == 1


def test_a_video_that_retries_share_is_stored_once(store: JobStore) -> None:
    for number, size in enumerate((1, 20)):
        claim = claimed(store, input_key=f"inputs/{number}", input_bytes=size)
        store.fail(claim, "why")
    for _ in range(2):
        store.retry(claim.job_id, ALL_OWNERS)
    assert snapshot(store.engine, 60).stored_video_bytes == 21


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0, "1"), (1, "1"), (1.000001, "2"), (21600, "21600"), (21600.1, "+Inf")]
)
def test_a_bucket_includes_its_upper_bound(seconds: float, bucket: str) -> None:
    assert bucket_of(seconds) == bucket
    assert list(BOUNDS) == sorted(set(BOUNDS))
