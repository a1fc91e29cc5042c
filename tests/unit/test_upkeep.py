"""What the sweepers ask and note, on SQLite and Postgres."""

import threading
import uuid

import pytest
import sqlalchemy as sa

from tests.support.records import new_job
from videoqueue.jobs import workers
from videoqueue.jobs.queries import JobQueries
from videoqueue.jobs.store import JobStore
from videoqueue.jobs.tables import JobRow, WorkerHeartbeat
from videoqueue.jobs.types import OwnerLimits

NEW = new_job()


@pytest.fixture
def queries(store: JobStore) -> JobQueries:
    return JobQueries(store.engine)


def age(store: JobStore, job_id: uuid.UUID, **columns: int) -> None:
    """Moves times of a row into the past, in seconds."""
    changes = {name: getattr(JobRow, name) - seconds * 1_000_000 for name, seconds in columns.items()}
    with store.engine.begin() as connection:
        connection.execute(sa.update(JobRow).where(JobRow.job_id == job_id).values(changes))


def running(store: JobStore) -> uuid.UUID:
    job_id, _ = store.create(NEW)
    assert store.claim(job_id, "host:1") is not None
    return job_id


def test_only_leases_that_ended_are_dead_and_the_longest_dead_come_first(
    store: JobStore, queries: JobQueries
) -> None:
    first, second, _alive = running(store), running(store), running(store)
    age(store, first, lease_until=120)
    age(store, second, lease_until=60)
    found = queries.expired_leases(10)
    assert [(dead.job_id, dead.attempt, dead.worker) for dead in found] == [
        (first, 1, "host:1"),
        (second, 1, "host:1"),
    ]
    assert found[0].seconds == pytest.approx(100, abs=30)
    assert [dead.job_id for dead in queries.expired_leases(1)] == [first]


def test_jobs_are_claimable_when_pending_and_their_time_has_come(
    store: JobStore, queries: JobQueries
) -> None:
    running(store)
    ready, _ = store.create(NEW)
    later, _ = store.create(NEW)
    age(store, later, run_after=-60)
    assert queries.claimable(OwnerLimits()) == 1
    claim = store.claim(later, "worker")
    assert claim is not None
    assert claim.job_id == ready
    assert store.claim(later, "worker") is None


def test_announcements_slow_down_from_ten_seconds_to_ten_minutes(store: JobStore) -> None:
    job_id, _ = store.create(NEW)
    pauses = []
    for _ in range(8):
        age(store, job_id, announce_after=700)
        assert store.take_announcements(10) == [job_id]
        assert store.take_announcements(10) == []
        with store.engine.connect() as connection:
            due, now = connection.execute(sa.select(JobRow.announce_after, JobRow.created_at)).one()
        pauses.append(round((due - now) / 1_000_000, -1))
    assert pauses == [20, 40, 80, 160, 320, 600, 600, 600]


def test_announcements_are_taken_in_order_up_to_a_limit_and_among_the_jobs_named(store: JobStore) -> None:
    jobs = [store.create(NEW)[0] for _ in range(4)]
    for job_id, seconds in zip(jobs, (50, 80, 70, 60), strict=True):
        age(store, job_id, announce_after=seconds)
    assert store.take_announcements(2) == [jobs[1], jobs[2]]
    assert store.take_announcements(2, [jobs[1], jobs[0]]) == [jobs[0]]
    assert store.take_announcements(9) == [jobs[3]]


def test_many_sweepers_take_each_announcement_once(store: JobStore) -> None:
    jobs = [store.create(NEW)[0] for _ in range(40)]
    for job_id in jobs:
        age(store, job_id, announce_after=20)
    start, taken = threading.Barrier(4), []

    def sweep() -> None:
        start.wait()
        for _ in range(8):
            taken.extend(store.take_announcements(5))

    threads = [threading.Thread(target=sweep) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken))
    assert set(taken) | set(store.take_announcements(40)) == set(jobs)


def test_a_worker_lives_as_long_as_its_signs_are_fresh(store: JobStore, queries: JobQueries) -> None:
    workers.heartbeat(store.engine, "host:1", 2, starting=True)
    workers.heartbeat(store.engine, "host:2", 1, starting=True)
    assert queries.counts(60).workers == 2
    with store.engine.begin() as connection:
        old = sa.update(WorkerHeartbeat).where(WorkerHeartbeat.worker == "host:1")
        connection.execute(old.values(seen_at=1, started_at=1))
    assert queries.counts(60).workers == 1
    workers.heartbeat(store.engine, "host:1", 2)
    assert queries.counts(60).workers == 2
    with store.engine.connect() as connection:
        rows = connection.execute(sa.select(WorkerHeartbeat.__table__)).all()
    assert {(row.worker, row.threads) for row in rows} == {("host:1", 2), ("host:2", 1)}
    assert {row.started_at == 1 for row in rows if row.worker == "host:1"} == {True}
    workers.heartbeat(store.engine, "host:1", 2, starting=True)
    with store.engine.connect() as connection:
        assert connection.scalars(sa.select(sa.func.min(WorkerHeartbeat.started_at))).one() > 1
    workers.forget(store.engine, "host:2")
    assert queries.counts(60).workers == 1


def test_workers_silent_for_long_are_forgotten(store: JobStore) -> None:
    for worker in ("dead", "alive"):
        workers.heartbeat(store.engine, worker, 1)
    with store.engine.begin() as connection:
        connection.execute(
            sa.update(WorkerHeartbeat).where(WorkerHeartbeat.worker == "dead").values(seen_at=1)
        )
    assert workers.forget_silent(store.engine, 3600) == 1
    with store.engine.connect() as connection:
        assert connection.scalars(sa.select(WorkerHeartbeat.worker)).all() == ["alive"]


def test_the_backlog_tells_how_long_the_oldest_waits(store: JobStore, queries: JobQueries) -> None:
    running(store)
    assert (queries.counts(1).pending, queries.counts(1).oldest_pending_seconds) == (0, None)
    old, _ = store.create(NEW)
    store.create(NEW)
    age(store, old, created_at=1000)
    counts = queries.counts(1)
    assert counts.pending == 2
    assert counts.oldest_pending_seconds == pytest.approx(1000, abs=60)
