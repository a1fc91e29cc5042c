"""The queue carries job ids and nothing else, and its failure is quick."""

import json
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, TypeAlias

import pytest
import redis
from dramatiq.middleware import Retries

from tests.support.queue_worker import working
from videoqueue.broker import ACTOR, QUEUE, announce, build_broker
from videoqueue.errors import QueueUnavailableError


def messages(url: str, queue: str = QUEUE) -> list[dict[str, Any]]:
    with redis.Redis.from_url(url) as client:
        return [json.loads(text) for text in client.hvals(f"dramatiq:{queue}.msgs")]


def test_a_message_is_the_job_id_alone(redis_url: str) -> None:
    job_id = uuid.uuid4()
    announce(build_broker(redis_url), job_id)
    (message,) = messages(redis_url)
    assert message["kwargs"] == {"job_id": str(job_id)}
    assert message["args"] == []
    assert (message["actor_name"], message["queue_name"]) == (ACTOR, QUEUE)


def test_no_middleware_comes_uninvited(redis_url: str) -> None:
    assert build_broker(redis_url).middleware == []
    assert [type(one) for one in build_broker(redis_url, [Retries()]).middleware] == [Retries]


def test_a_queue_that_is_down_is_known_at_once() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        broker = build_broker(f"redis://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(QueueUnavailableError):
            announce(broker, uuid.uuid4())


def test_a_queue_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        broker = build_broker(f"redis://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(QueueUnavailableError):
            announce(broker, uuid.uuid4())


Run: TypeAlias = Callable[[uuid.UUID], float | None]
Consume: TypeAlias = Callable[[Run], None]


@pytest.fixture
def consume(redis_url: str) -> Iterator[Consume]:
    """Runs a real Dramatiq worker over the declared actor until it has handled the message given."""
    with ExitStack() as workers:
        yield lambda run: workers.enter_context(working(build_broker(redis_url, [Retries()]), run, 3))


def test_the_actor_hands_the_id_to_the_runner(redis_url: str, consume: Consume) -> None:
    job_id, seen, done = uuid.uuid4(), [], threading.Event()

    def run(given: uuid.UUID) -> None:
        seen.append(given)
        done.set()

    consume(run)
    announce(build_broker(redis_url), job_id)
    assert done.wait(10)
    assert seen == [job_id]


def test_a_job_to_try_again_comes_back_after_its_delay(redis_url: str, consume: Consume) -> None:
    times, done = [], threading.Event()

    def run(_: uuid.UUID) -> float | None:
        times.append(time.monotonic())
        if len(times) == 1:
            return 0.5
        done.set()
        return None

    consume(run)
    announce(build_broker(redis_url), uuid.uuid4())
    assert done.wait(10)
    assert times[1] - times[0] >= 0.5
