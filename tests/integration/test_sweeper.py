"""Forgotten jobs are found: never announced, message lost, worker gone."""

from __future__ import annotations

import uuid

import pytest
import redis
import sqlalchemy as sa

from videoqueue.broker import QUEUE
from videoqueue.errors import QueueUnavailableError
from videoqueue.jobs.models import Job
from videoqueue.jobs.store import NewJob
from videoqueue.services import Services
from videoqueue.worker.sweeper import Sweeper


@pytest.fixture
def sweeper(services: Services) -> Sweeper:
    return Sweeper(services.store, services.broker, interval=60)


def new_job(services: Services) -> uuid.UUID:
    new = NewJob(
        pipeline_id="p", frame_stride=1, max_frames=None, input_key="k", input_bytes=1, input_sha256="0"
    )
    return services.store.create(new)[0]


def backdate(services: Services, **columns: int) -> None:
    with services.store.engine.begin() as connection:
        connection.execute(sa.update(Job).values(columns))


def test_a_job_whose_message_was_lost_is_announced_again(services: Services, sweeper: Sweeper) -> None:
    new_job(services)
    assert sweeper.sweep() == 0
    backdate(services, announce_after=1)
    assert sweeper.sweep() == 1
    assert services.broker.do_qsize(QUEUE) == 1
    assert sweeper.sweep() == 0


def test_a_job_whose_worker_is_gone_is_taken_back_and_announced(services: Services, sweeper: Sweeper) -> None:
    job_id = new_job(services)
    services.store.claim(job_id, "dead worker")
    assert sweeper.sweep() == 0
    backdate(services, lease_until=1)
    assert sweeper.sweep() == 1
    job = services.store.get(job_id)
    assert (job.status, job.crashes) == ("pending", 1)
    assert services.broker.do_qsize(QUEUE) == 1


def test_finished_jobs_are_left_alone(services: Services, sweeper: Sweeper) -> None:
    job_id = new_job(services)
    services.store.fail(services.store.claim(job_id, "worker"), "why")
    backdate(services, announce_after=1)
    before = services.store.get(job_id)
    assert sweeper.sweep() == 0
    assert services.store.get(job_id) == before


def test_a_queue_that_is_down_leaves_the_rest_for_later(services: Services) -> None:
    from videoqueue.broker import build_broker

    new_job(services)
    backdate(services, announce_after=1)
    away = build_broker("redis://127.0.0.1:1")
    with pytest.raises(QueueUnavailableError):
        Sweeper(services.store, away, interval=60).sweep()


def test_the_thread_sweeps_by_itself_and_stops(services: Services, redis_url: str) -> None:
    new_job(services)
    backdate(services, announce_after=1)
    sweeper = Sweeper(services.store, services.broker, interval=0.05)
    with redis.Redis.from_url(redis_url) as client:
        sweeper.start()
        message_id = client.blmove(f"dramatiq:{QUEUE}", "taken", 10)
    sweeper.stop()
    assert message_id is not None
