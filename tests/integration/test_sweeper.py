"""Forgotten jobs are found: never announced, message lost, worker gone."""

from __future__ import annotations

import json
import uuid

import pytest
import redis
import sqlalchemy as sa

from tests.support.records import lease_policy, new_job, stored
from videoqueue.broker import QUEUE, announce, build_broker, queued
from videoqueue.errors import QueueUnavailableError
from videoqueue.jobs.changes import new_row
from videoqueue.jobs.database import now
from videoqueue.jobs.queries import JobQueries
from videoqueue.jobs.store import JobStore
from videoqueue.jobs.tables import JobRow
from videoqueue.jobs.types import ALL_OWNERS, OwnerLimits
from videoqueue.maintenance.next_job import announce_next
from videoqueue.maintenance.sweeper import Sweeper
from videoqueue.services import Services


@pytest.fixture
def sweeper(services: Services) -> Sweeper:
    return Sweeper(services.store, services.broker, services.settings, "test:1")


def submitted(services: Services) -> uuid.UUID:
    return services.store.create(new_job())[0]


def backdate(services: Services, **columns: object) -> None:
    with services.store.engine.begin() as connection:
        connection.execute(sa.update(JobRow).values(columns))


def test_a_job_whose_message_was_lost_is_announced_again(services: Services, sweeper: Sweeper) -> None:
    submitted(services)
    assert sweeper.sweep() == 0
    backdate(services, announce_after=1)
    assert sweeper.sweep() == 1
    assert services.broker.do_qsize(QUEUE) == 1
    assert sweeper.sweep() == 0


def test_a_job_whose_worker_is_gone_is_taken_back_and_announced(services: Services, sweeper: Sweeper) -> None:
    job_id = submitted(services)
    services.store.claim(job_id, "dead worker")
    assert sweeper.sweep() == 0
    backdate(services, lease_until=1)
    assert sweeper.sweep() == 1
    job = stored(services.store, job_id)
    assert (job.status, job.crashes) == ("pending", 1)
    assert services.broker.do_qsize(QUEUE) == 1


def test_finished_jobs_are_left_alone(services: Services, sweeper: Sweeper) -> None:
    job_id = submitted(services)
    claim = services.store.claim(job_id, "worker")
    assert claim is not None
    services.store.fail(claim, "why")
    backdate(services, announce_after=1)
    before = services.store.get(job_id, ALL_OWNERS)
    assert sweeper.sweep() == 0
    assert services.store.get(job_id, ALL_OWNERS) == before


def test_a_queue_that_is_down_leaves_the_rest_for_later(services: Services) -> None:
    submitted(services)
    backdate(services, announce_after=1)
    away = build_broker("redis://127.0.0.1:1")
    with pytest.raises(QueueUnavailableError):
        Sweeper(services.store, away, services.settings, "test:1").sweep()
    (job_id,) = services.store.take_announcements(10)
    assert stored(services.store, job_id).announcements == 2
    assert JobQueries(services.store.engine).counts(60).workers == 1


def test_the_thread_sweeps_by_itself_and_says_goodbye(services: Services, redis_url: str) -> None:
    submitted(services)
    backdate(services, announce_after=1)
    sweeper = Sweeper(services.store, services.broker, services.settings, "test:1")
    queries = JobQueries(services.store.engine)
    with redis.Redis.from_url(redis_url) as client:
        sweeper.start()
        message_id = client.blmove(f"dramatiq:{QUEUE}", "taken", 10)
        assert queries.counts(60).workers == 1
    sweeper.stop()
    assert message_id is not None
    assert queries.counts(60).workers == 0


def test_an_expired_job_is_announced_at_once_however_full_the_queue(
    services: Services, sweeper: Sweeper
) -> None:
    job_id = submitted(services)
    services.store.claim(job_id, "dead worker")
    backdate(services, lease_until=1)
    for _ in range(5):
        announce(services.broker, uuid.uuid4())
    assert sweeper.sweep() == 1
    assert queued(services.broker) == 6


@pytest.mark.parametrize("crashes", [1, 3], ids=["and fails", "and is tried again"])
def test_the_pass_that_expires_a_job_announces_one_of_an_owner_at_the_limit(
    services: Services, crashes: int
) -> None:
    policy = lease_policy(max_crashes=crashes)
    store = JobStore(services.store.engine, policy, OwnerLimits(max_running=1))
    first, second, _ = (store.create(new_job(owner="anna"))[0] for _ in range(3))
    store.claim(first, "dead worker")
    sweeper = Sweeper(store, services.broker, services.settings, "test:1")
    assert sweeper.sweep() == 0
    with services.store.engine.begin() as connection:
        connection.execute(sa.update(JobRow).where(JobRow.job_id == first).values(lease_until=1))
    assert sweeper.sweep() == 1
    claim = store.claim(named(services), "worker")
    assert claim is not None
    assert claim.job_id == (second if crashes == 1 else first)
    assert sweeper.sweep() == 0


def test_a_pass_announces_nothing_for_an_owner_at_the_limit_however_long_its_jobs_are_due(
    services: Services,
) -> None:
    store = JobStore(services.store.engine, lease_policy(), OwnerLimits(max_running=2))
    jobs = [store.create(new_job(owner="anna"))[0] for _ in range(5)]
    claims = [store.claim(job_id, "worker") for job_id in jobs[:2]]
    backdate(services, announce_after=1)
    sweeper = Sweeper(store, services.broker, services.settings, "test:1")
    assert [sweeper.sweep() for _ in range(3)] == [0, 0, 0]
    assert [stored(store, job_id).announcements for job_id in jobs] == [1] * 5
    assert claims[0] is not None
    store.fail(claims[0], "why")
    assert [sweeper.sweep() for _ in range(3)] == [1, 0, 0]
    assert queued(services.broker) == 1


def test_the_next_job_of_an_owner_stays_due_while_the_queue_is_away(services: Services) -> None:
    store = JobStore(services.store.engine, lease_policy(), OwnerLimits(max_running=1))
    first, second = (store.create(new_job(owner="anna"))[0] for _ in range(2))
    claim = store.claim(first, "worker")
    assert claim is not None
    store.fail(claim, "why")
    due = stored(store, second)
    announce_next(store, build_broker("redis://127.0.0.1:1"), "anna")
    assert stored(store, second) == due
    assert Sweeper(store, services.broker, services.settings, "test:1").sweep() == 1
    assert named(services) == second


def named(services: Services) -> uuid.UUID:
    """The job that the only message in the queue names."""
    (message,) = services.broker.client.hvals(f"dramatiq:{QUEUE}.msgs")
    return uuid.UUID(json.loads(message)["kwargs"]["job_id"])


def test_what_waits_in_the_queue_is_not_announced_again(services: Services, sweeper: Sweeper) -> None:
    for _ in range(3):
        announce(services.broker, submitted(services))
    backdate(services, announce_after=1)
    assert sweeper.sweep() == 0
    services.broker.flush_all()
    assert sweeper.sweep() == 3
    assert queued(services.broker) == 3


def test_a_pass_is_bounded(services: Services) -> None:
    object.__setattr__(services.settings, "sweep_rows", 4)
    sweeper = Sweeper(services.store, services.broker, services.settings, "test:1")
    for _ in range(9):
        submitted(services)
    backdate(services, announce_after=1)
    assert [sweeper.sweep() for _ in range(4)] == [4, 4, 1, 0]


def test_sweepers_that_see_the_same_gap_fill_it_once(services: Services) -> None:
    names = ("host:1", "host:2", "host:3")
    sweepers = [Sweeper(services.store, services.broker, services.settings, name) for name in names]
    assert [sweeper.sweep() for sweeper in sweepers] == [0, 0, 0]
    for _ in range(9):
        submitted(services)
    backdate(services, announce_after=1)
    assert [sweeper.sweep() for sweeper in sweepers] == [3, 2, 2]
    assert [sweeper.sweep() for sweeper in sweepers] == [1, 1, 0]
    assert queued(services.broker) == 9


JOBS = 10_000


def test_ten_thousand_pending_jobs_and_two_sweepers_do_not_flood_the_queue(
    services: Services, redis_url: str
) -> None:
    """Time passes by moving the rows: at first nothing is drained, then all; the queue is lost once."""
    sweepers = [
        Sweeper(services.store, services.broker, services.settings, name) for name in ("host:1", "host:2")
    ]
    jobs = [uuid.uuid4() for _ in range(JOBS)]
    new = new_job()
    with services.store.engine.begin() as connection:
        time = now(connection)
        rows = [new_row(job_id, new, time, services.store.policy) for job_id in jobs]
        connection.execute(sa.insert(JobRow), rows)
    for job_id in jobs:
        announce(services.broker, job_id)

    pending = JOBS
    with redis.Redis.from_url(redis_url) as client:
        for minute in range(200):
            for sweeper in sweepers:
                sweeper.sweep()
            assert client.llen(f"dramatiq:{QUEUE}") < 2 * pending
            if minute == 20:
                client.flushall()
            if minute >= 10:
                pending -= drained(services, client, 600)
            if pending == 0:
                break
            backdate(services, announce_after=JobRow.announce_after - 60_000_000)
    assert pending == 0


def drained(services: Services, client: redis.Redis, count: int) -> int:
    """Takes messages as workers would, and deletes their jobs; says how many there were."""
    ids = client.lpop(f"dramatiq:{QUEUE}", count) or []
    if not ids:
        return 0
    jobs = [job_of(message) for message in client.hmget(f"dramatiq:{QUEUE}.msgs", ids)]
    with services.store.engine.begin() as connection:
        return connection.execute(sa.delete(JobRow).where(JobRow.job_id.in_(jobs))).rowcount


def job_of(message: bytes | str | None) -> uuid.UUID:
    assert message is not None
    return uuid.UUID(json.loads(message)["kwargs"]["job_id"])
