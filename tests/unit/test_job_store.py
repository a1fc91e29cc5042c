"""Every transition of a job row, on SQLite and Postgres."""

import threading
import uuid

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tests.support.job_rows import NEW, OTHER, VIDEO, age, chunks, claimed, claimed_again, row
from tests.support.records import lease_policy, stored
from videoqueue.errors import DatabaseUnavailableError, IdempotencyKeyReusedError, LeaseLostError
from videoqueue.jobs.database import engine_options, prepare
from videoqueue.jobs.store import Claim, JobStore, NewJob
from videoqueue.jobs.tables import JobRow, ResultChunk
from videoqueue.jobs.types import ALL_OWNERS


def test_a_new_job_is_pending_and_due_at_once(store: JobStore) -> None:
    job_id, is_new = store.create(NEW)
    job = stored(store, job_id)
    assert is_new
    assert (job.status, job.progress, job.attempt, job.announcements) == ("pending", 0.0, 0, 1)
    assert job.created_at == job.updated_at == job.run_after
    assert job.announce_after == job.created_at + 10_000_000


def test_a_claim_takes_the_job_for_one_worker_only(store: JobStore) -> None:
    job_id, _ = store.create(NEW)
    claim = store.claim(job_id, "one")
    assert claim is not None
    assert (claim.attempt, claim.start_after, claim.next_seq) == (1, None, 0)
    assert store.claim(job_id, "two") is None
    job = row(store, claim)
    assert (job.status, job.worker) == ("running", "one")
    assert job.lease_until is not None
    assert job.started_at is not None
    assert job.lease_until - job.started_at == 20_000_000


def test_an_unknown_job_cannot_be_claimed(store: JobStore) -> None:
    assert store.claim(uuid.uuid4(), "worker") is None


def test_a_checkpoint_stores_results_progress_and_lease_together(store: JobStore) -> None:
    claim = claimed(store)
    age(store, claim.job_id, lease_until=15)
    store.checkpoint(claim, 0, b"a,b", [0, 2], 0.37)
    job = row(store, claim)
    assert job.progress == pytest.approx(0.3)
    assert job.lease_until is not None
    assert job.lease_until > job.updated_at + 19_000_000
    with store.engine.connect() as connection:
        chunk = connection.execute(sa.select(ResultChunk.__table__)).one()
    assert (chunk.seq, chunk.first_frame, chunk.frame_count, chunk.payload) == (0, 0, 2, b"a,b")


def test_a_chunk_can_be_committed_again_with_more_results_by_its_own_attempt_only(store: JobStore) -> None:
    claim = claimed(store)
    store.checkpoint(claim, 0, b"a", [0], 0.1)
    store.checkpoint(claim, 0, b"a,b", [0, 2], 0.2, replaces=True)
    assert chunks(store, claim) == [b"a,b"]
    again = claimed_again(store, claim)
    assert (again.start_after, again.next_seq) == (2, 1)
    with pytest.raises(LeaseLostError):
        store.checkpoint(claim, 0, b"a,b,c", [0, 2, 3], 0.3, replaces=True)
    assert chunks(store, claim) == [b"a,b"]


def test_full_progress_waits_for_completion(store: JobStore) -> None:
    claim = claimed(store)
    store.checkpoint(claim, 0, b"a", [0], 1.0)
    assert row(store, claim).progress == pytest.approx(0.9)
    store.complete(claim, "etag")
    job = row(store, claim)
    assert (job.status, job.progress, job.results_etag, job.lease_until) == ("completed", 1.0, "etag", None)
    assert job.finished_at is not None


def test_a_failed_job_says_why(store: JobStore) -> None:
    claim = claimed(store)
    store.fail(claim, "not a video")
    job = row(store, claim)
    assert (job.status, job.error_message) == ("failed", "not a video")


@pytest.mark.parametrize(("end", "said"), [("complete", "etag"), ("fail", "why")])
def test_what_is_known_of_the_video_is_stored_when_the_job_ends(store: JobStore, end: str, said: str) -> None:
    claim = claimed(store)
    store.checkpoint(claim, 0, b"a", [0], 0.5)
    running = row(store, claim)
    getattr(store, end)(claim, said, VIDEO)
    ended = row(store, claim)
    assert {name: getattr(running, name) for name in vars(VIDEO)} == dict.fromkeys(vars(VIDEO))
    assert {name: getattr(ended, name) for name in vars(VIDEO)} == vars(VIDEO)


@pytest.mark.parametrize("write", ["renew", "begin", "checkpoint", "complete", "fail", "release"])
def test_every_write_of_an_attempt_that_lost_the_job_is_refused(store: JobStore, write: str) -> None:
    stale = claimed(store)
    store.release(stale, "interruption", None)
    current = store.claim(stale.job_id, "other")
    assert current is not None
    arguments = {
        "renew": (),
        "begin": (OTHER,),
        "checkpoint": (0, b"a", [0], 0.1),
        "complete": ("etag",),
        "fail": ("why",),
        "release": ("failures", "why"),
    }[write]
    store.checkpoint(current, 0, b"current", [0], 0.1)
    before = row(store, current)
    with pytest.raises(LeaseLostError):
        getattr(store, write)(stale, *arguments)
    assert row(store, current) == before
    assert chunks(store, current) == [b"current"]


@pytest.mark.parametrize("end", ["complete", "fail"])
def test_a_terminal_state_never_changes(store: JobStore, end: str) -> None:
    claim = claimed(store)
    getattr(store, end)(claim, "x")
    before = row(store, claim)
    with pytest.raises(LeaseLostError):
        store.fail(claim, "later")
    assert store.claim(claim.job_id, "other") is None
    assert not store.expire(claim.job_id)
    assert row(store, claim) == before


def test_a_passing_error_sends_the_job_back_with_a_pause(store: JobStore) -> None:
    claim = claimed(store)
    assert store.release(claim, "failures", "storage away", delay=60)
    job = row(store, claim)
    assert (job.status, job.failures, job.crashes, job.error_message) == ("pending", 1, 0, "storage away")
    assert job.run_after == job.updated_at + 60_000_000
    assert store.claim(claim.job_id, "early") is None
    age(store, claim.job_id, run_after=61)
    assert store.claim(claim.job_id, "in time") is not None


def test_a_failed_job_is_tried_again_as_a_new_one(store: JobStore) -> None:
    claim = claimed(store)
    assert store.retry(claim.job_id, ALL_OWNERS) is None
    store.fail(claim, "why")
    again = store.retry(claim.job_id, ALL_OWNERS)
    assert again is not None
    old, new = row(store, claim), stored(store, again)
    assert (old.status, new.status, new.attempt, new.error_message) == ("failed", "pending", 0, None)
    assert [getattr(old, name) for name in vars(NEW)] == [getattr(new, name) for name in vars(NEW)]
    assert store.retry(uuid.uuid4(), ALL_OWNERS) is None


def test_a_job_tried_again_does_not_take_the_idempotency_key(store: JobStore) -> None:
    first, _ = store.create(NewJob(**vars(NEW) | {"idempotency_key": "k"}))
    claim = store.claim(first, "worker")
    assert claim is not None
    store.fail(claim, "why")
    again = store.retry(first, ALL_OWNERS)
    assert again is not None
    assert stored(store, again).idempotency_key is None


def test_the_same_idempotency_key_gives_the_same_job(store: JobStore) -> None:
    keyed = NewJob(**vars(NEW) | {"idempotency_key": "k"})
    first, _ = store.create(keyed)
    assert store.create(NewJob(**vars(keyed) | {"input_key": "inputs/y.mp4"})) == (first, False)
    with pytest.raises(IdempotencyKeyReusedError):
        store.create(NewJob(**vars(keyed) | {"frame_stride": 3}))


def test_many_threads_that_want_one_job_get_it_once(store: JobStore) -> None:
    job_id, _ = store.create(NEW)
    start = threading.Barrier(5)
    claims = []

    def want(name: str) -> None:
        start.wait()
        claims.append(store.claim(job_id, name))

    threads = [threading.Thread(target=want, args=(str(number),)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([claim for claim in claims if claim is not None]) == 1
    assert row(store, next(claim for claim in claims if claim)).attempt == 1


def test_transactions_that_read_and_then_write_do_not_get_in_each_others_way(store: JobStore) -> None:
    jobs = [claimed(store) for _ in range(4)]
    start = threading.Barrier(4)
    failures: list[Exception] = []

    def work(claim: Claim) -> None:
        start.wait()
        try:
            for seq in range(25):
                age(store, claim.job_id, announce_after=0)
                store.checkpoint(claim, seq, b"x", [seq * 2], 0.1)
                store.release(claim, "interruption", None)
                assert store.take_announcements(1, [claim.job_id]) == [claim.job_id]
                again = store.claim(claim.job_id, "again")
                assert again is not None
                claim = again
        except (DatabaseUnavailableError, LeaseLostError, AssertionError) as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(claim,)) for claim in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [row(store, claim).attempt for claim in jobs] == [26] * 4


def test_deleting_a_job_deletes_its_results(store: JobStore, engine: Engine) -> None:
    claim = claimed(store)
    store.checkpoint(claim, 0, b"a", [0], 0.1)
    with engine.begin() as connection:
        connection.execute(sa.delete(JobRow))
        assert connection.scalar(sa.select(sa.func.count()).select_from(ResultChunk)) == 0


def test_an_unreachable_database_is_a_passing_error() -> None:
    url = "postgresql+psycopg://127.0.0.1:1/nowhere"
    engine = sa.create_engine(url, **engine_options(url, 1))
    prepare(engine)
    with pytest.raises(DatabaseUnavailableError):
        JobStore(engine, lease_policy()).get(uuid.uuid4(), ALL_OWNERS)
    engine.dispose()
