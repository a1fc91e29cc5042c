"""Messages that somebody else has put on the queue: they are dropped and counted, and jobs run."""

from __future__ import annotations

import json
import pickle
import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from dramatiq.middleware import Retries

from tests.support.log_lines import LogLines
from tests.support.queue_worker import working
from tests.support.stack import eventually
from videoqueue.broker import ACTOR, QUEUE, announce, build_broker, queued
from videoqueue.queue_messages import MAX_BYTES

DELAYED = f"{QUEUE}.DQ"


def message(**changes: Any) -> bytes:
    """A message as the service sends it, but for the changes; None leaves a field out."""
    given = {
        "queue_name": QUEUE,
        "actor_name": ACTOR,
        "args": [],
        "kwargs": {"job_id": str(uuid.uuid4())},
        "options": {"redis_message_id": "id"},
        "message_id": str(uuid.uuid4()),
        "message_timestamp": 1,
    }
    return json.dumps(
        {name: value for name, value in (given | changes).items() if value is not None}
    ).encode()


def with_option(**options: Any) -> bytes:
    return message(options={"redis_message_id": "id"} | options)


FOREIGN = {
    "nothing": b"",
    "binary": bytes(range(256)),
    "a pickle": pickle.dumps({"queue_name": QUEUE}),
    "half of a message": message()[:-20],
    "another JSON": b"[1, 2]",
    "deep JSON": b"[" * 50_000,
    "a long message": message(message_id="x" * MAX_BYTES),
    "no options": message(options=None),
    "no id": message(options={}),
    "another field": message(more=1),
    "another actor": message(actor_name="somebody"),
    "another queue": message(queue_name="other"),
    "arguments": message(args=["x"]),
    "no arguments": message(kwargs={}),
    "another argument": message(kwargs={"job_id": str(uuid.uuid4()), "more": 1}),
    "arguments in a list": message(kwargs=["job_id"]),
    "a path for an id": message(kwargs={"job_id": "../../etc/passwd"}),
    "a number for an id": message(kwargs={"job_id": 5}),
    "a time that is text": with_option(eta="soon"),
    "a time that is no number": with_option(eta=float("nan")),
    "a time in a thousand years": with_option(eta=10**14),
    "tries that are text": with_option(retries="x"),
    "an actor to call": with_option(on_retry_exhausted="other"),
}


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def put(client: redis.Redis, queue: str, data: bytes | None) -> None:
    name = uuid.uuid4().hex
    if data is not None:
        client.hset(f"dramatiq:{queue}.msgs", name, data)
    client.rpush(f"dramatiq:{queue}", name)


def left(client: redis.Redis) -> list[bytes]:
    """Keys with messages or their ids."""
    return [key for key in client.scan_iter() if key != b"dramatiq:__heartbeats__"]


@pytest.mark.parametrize("queue", [QUEUE, DELAYED])
@pytest.mark.parametrize("data", [*FOREIGN.values(), None], ids=[*FOREIGN, "an id alone"])
def test_a_foreign_message_is_dropped_and_the_next_job_runs(
    redis_url: str, client: redis.Redis, log_lines: LogLines, queue: str, data: bytes | None
) -> None:
    done: list[uuid.UUID] = []
    job_id = uuid.uuid4()
    put(client, queue, data)
    announce(build_broker(redis_url), job_id)
    with working(build_broker(redis_url, [Retries()]), done.append, 3):
        eventually(lambda: done == [job_id] and not left(client), "the job runs, and the queue is empty")
    (line,) = log_lines.having("Messages dropped")
    assert line.endswith(f" queue={queue} messages=1")
    assert "Traceback" not in str(log_lines.written)


def test_many_foreign_messages_are_counted_and_do_not_keep_a_job_waiting(
    redis_url: str, client: redis.Redis, log_lines: LogLines
) -> None:
    done: list[uuid.UUID] = []
    job_id = uuid.uuid4()
    for number in range(150):
        put(client, QUEUE, b"garbage %d" % number)
    announce(build_broker(redis_url), job_id)
    with working(build_broker(redis_url, [Retries()]), done.append, 3):
        eventually(lambda: done == [job_id] and not left(client), "the job runs, and the queue is empty")
    lines = log_lines.having("Messages dropped")
    assert sum(int(re.findall(r"messages=(\d+)", line)[0]) for line in lines) == 150


def test_retried_messages_are_the_service_s_own(
    redis_url: str, client: redis.Redis, log_lines: LogLines
) -> None:
    """Dramatiq adds fields to them: the traceback, the number of tries, the time of the next."""
    broker = build_broker(redis_url, [Retries(min_backoff=1)])
    tries: list[uuid.UUID] = []

    def run(job_id: uuid.UUID) -> float | None:
        tries.append(job_id)
        if len(tries) == 1:
            raise ValueError("a bug")
        return 0.001 if len(tries) == 2 else None

    with working(broker, run, 3):
        announce(broker, uuid.uuid4())
        eventually(lambda: len(tries) == 3 and not left(client), "the third try ends it", 60)
    assert not [line for line in log_lines.written if "Messages dropped" in line]


def test_a_key_of_another_type_is_named(redis_url: str, client: redis.Redis, log_lines: LogLines) -> None:
    client.set(f"dramatiq:{QUEUE}", "text")
    done: list[uuid.UUID] = []
    with working(build_broker(redis_url, [Retries()]), done.append, 3):
        eventually(lambda: "Delete the keys dramatiq*" in str(log_lines.written), "the log says what to do")
        client.delete(f"dramatiq:{QUEUE}")
        job_id = uuid.uuid4()
        announce(build_broker(redis_url), job_id)
        eventually(lambda: done == [job_id], "the job runs")
    assert queued(build_broker(redis_url)) == 0
