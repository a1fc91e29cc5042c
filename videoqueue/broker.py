"""The queue: a Dramatiq broker, and `announce`, which needs no actor and so no worker code.

The database decides what runs; a message only says "look at this job". Lost, late or doubled messages do no
harm, so the broker gives up quickly instead of waiting, and the sweeper announces again.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.message import Message
from dramatiq.middleware import Middleware
from redis.backoff import NoBackoff
from redis.retry import Retry

from videoqueue.errors import QueueUnavailableError

QUEUE = "video"
ACTOR = "process_video"

#: Seconds to connect and to wait for a reply; a web request waits at most this long for the queue.
_CONNECT_SECONDS = 1
_REPLY_SECONDS = 2

#: Reclaim the messages of dead workers at every poll (a chance in a million each): the default, one in a
#: thousand, leaves them lying for a quarter of an hour.
_ALWAYS = 1_000_000


def build_broker(redis_url: str, middleware: Sequence[Middleware] = ()) -> RedisBroker:
    """A broker with exactly the middleware given; nothing connects before the first message.

    Dramatiq's defaults include a ten-minute TimeLimit that can end a worker thread for good: none is taken.
    """
    client = redis.Redis.from_url(
        redis_url,
        retry=Retry(NoBackoff(), 0),
        socket_connect_timeout=_CONNECT_SECONDS,
        socket_timeout=_REPLY_SECONDS,
        health_check_interval=30,
    )
    broker = RedisBroker(  # type: ignore[no-untyped-call]
        client=client, middleware=list(middleware), maintenance_chance=_ALWAYS
    )
    broker.declare_queue(QUEUE)
    return broker


def announce(broker: RedisBroker, job_id: uuid.UUID) -> None:
    """Puts the job id, and nothing else, on the queue.

    Raises:
        QueueUnavailableError: the queue does not answer; a sweeper will announce the job later.
    """
    message: Message[None] = Message(
        queue_name=QUEUE, actor_name=ACTOR, args=(), kwargs={"job_id": str(job_id)}, options={}
    )
    try:
        broker.enqueue(message)
    except redis.RedisError as error:
        raise QueueUnavailableError("The queue does not answer.") from error


def queued(broker: RedisBroker) -> int:
    """Messages that wait to be fetched; neither delayed ones nor those a worker has taken.

    Raises:
        QueueUnavailableError: the queue does not answer.
    """
    try:
        return int(broker.client.llen(f"{broker.namespace}:{QUEUE}"))
    except redis.RedisError as error:
        raise QueueUnavailableError("The queue does not answer.") from error
