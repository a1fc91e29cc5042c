"""The queue: a Dramatiq broker, and `announce`, which needs no actor and so no worker code.

The database decides what runs; a message only names a job to look at. Lost, late or duplicate messages are
harmless, so the broker fails fast instead of waiting, and the sweeper announces the job again.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.common import dq_name
from dramatiq.errors import ConnectionClosed
from dramatiq.message import Message
from dramatiq.middleware import Middleware, Retries
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from videoqueue.errors import QueueUnavailableError, SettingsError
from videoqueue.queue_faults import FAULTS, explain
from videoqueue.queue_messages import MessageFilter

logger = logging.getLogger(__name__)

QUEUE = "video"
ACTOR = "process_video"

#: Seconds to connect and to wait for a reply. A web request waits no longer for the queue.
_CONNECT_SECONDS = 1
_REPLY_SECONDS = 2

#: Reclaim the messages of dead workers at every poll: chances in a million. With the default of one in a
#: thousand, it takes a quarter of an hour.
_ALWAYS = 1_000_000

#: The write commands of an announcement, on a queue without a reader. ZADD comes first: Redis refuses the
#: first write of a script if memory is full, but no later one. With XX and an unknown member it changes
#: nothing.
_WRITE_CHECK: Final = """
redis.call("ZADD", KEYS[2], "XX", "0", "check")
redis.call("DEL", KEYS[3], KEYS[4])
redis.call("HSET", KEYS[4], "check", "")
redis.call("RPUSH", KEYS[3], "check")
redis.call("DEL", KEYS[3], KEYS[4])
"""


class _Broker(RedisBroker):
    """Dramatiq's broker, with its errors in one line and without messages of others."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._filters = {name: self._filter(name) for name in (QUEUE, dq_name(QUEUE))}

    def _filter(self, queue: str) -> MessageFilter:
        acks = f"{self.namespace}:__acks__.{self.broker_id}.{queue}"
        return MessageFilter(self.client, acks, f"{self.namespace}:{queue}.msgs", queue, ACTOR)

    def _dispatch(self, command: str) -> Callable[..., Any]:
        dispatch: Callable[..., Any] = super()._dispatch(command)  # type: ignore[no-untyped-call]

        def consume(queue: str, *arguments: Any) -> Any:
            # Dramatiq logs this error in one line and continues. Any other it logs with its traceback, once a
            # second; while it puts delayed messages back, any other error ends the thread.
            try:
                if command == "fetch":
                    return self._filters[queue].fetch(partial(dispatch, queue, *arguments))
                return dispatch(queue, *arguments)
            except FAULTS as error:
                raise ConnectionClosed(explain(error)) from error  # type: ignore[no-untyped-call]

        def finish(queue: str, *arguments: Any) -> Any:
            # Dramatiq tries again after a lost connection, and calls any other error a bug of its own.
            try:
                return dispatch(queue, *arguments)
            except redis.ConnectionError:
                raise
            except FAULTS as error:
                logger.warning(
                    "A message stays in the queue although its job has been processed. It will be delivered "
                    "again, which changes nothing.",
                    extra={"reason": explain(error)},
                )
                return None

        if command in ("ack", "nack"):
            return finish
        return consume if command in ("fetch", "requeue") else dispatch


class RetriesLater(Retries):
    """Dramatiq's retries. A message that the queue refuses is left out: the job is announced later."""

    def after_process_message(self, broker: Any, message: Any, **outcome: Any) -> None:
        try:
            super().after_process_message(broker, message, **outcome)  # type: ignore[no-untyped-call]
        except FAULTS as error:
            logger.warning(
                "A message was not put back on the queue. Its job will be announced later.",
                extra={"reason": explain(error)},
            )


def build_broker(
    redis_url: str, middleware: Sequence[Middleware] = (), *, verify_tls: bool = True
) -> RedisBroker:
    """Returns a broker with exactly the given middleware. It connects at the first message.

    Dramatiq's default middleware is left out: its ten-minute TimeLimit can end a worker thread permanently.

    Args:
        redis_url: the URL of the queue.
        middleware: Dramatiq's middleware, in order.
        verify_tls: False accepts any certificate of a rediss:// server, whatever the URL says.

    Raises:
        SettingsError: the URL has an unknown option, or a value that cannot be used.
    """
    broker = _Broker(
        client=_client(redis_url, verify_tls), middleware=list(middleware), maintenance_chance=_ALWAYS
    )
    broker.declare_queue(QUEUE)
    return broker


def _client(redis_url: str, verify_tls: bool) -> redis.Redis:
    options: dict[str, Any] = {
        "retry": Retry(NoBackoff(), 0),
        "socket_connect_timeout": _CONNECT_SECONDS,
        "socket_timeout": _REPLY_SECONDS,
        "health_check_interval": 30,
    }
    try:
        options |= parse_url(redis_url)  # type: ignore[no-untyped-call]
        if not verify_tls and redis_url.startswith("rediss:"):
            options["ssl_cert_reqs"] = "none"
        pool = redis.ConnectionPool(**options)
        # redis-py checks options when it makes a connection, which would be during a request.
        pool.connection_class(**pool.connection_kwargs)
    except (TypeError, ValueError, redis.RedisError):
        # The errors repeat parts of the URL, which has a password.
        raise SettingsError(
            "REDIS_URL cannot be used: it takes redis://, rediss:// or unix:// with a host, a port from 1 to "
            "65535, and only options that redis-py knows, such as ssl_ca_certs=FILE or "
            "ssl_cert_reqs=none|required."
        ) from None
    return redis.Redis.from_pool(pool)


def announce(broker: RedisBroker, job_id: uuid.UUID) -> None:
    """Puts the job id, and nothing else, on the queue.

    Raises:
        QueueUnavailableError: the queue cannot accept it; a sweeper will announce the job later.
    """
    message: Message[None] = Message(
        queue_name=QUEUE, actor_name=ACTOR, args=(), kwargs={"job_id": str(job_id)}, options={}
    )
    with _asking():
        broker.enqueue(message)


def queued(broker: RedisBroker) -> int:
    """Checks that the queue accepts messages, and counts those that wait.

    Returns:
        The number of messages, without delayed ones and those that a worker has fetched.

    Raises:
        QueueUnavailableError: the queue does not respond, or refuses writes.
    """
    name = f"{broker.namespace}:{QUEUE}"
    keys = [broker.namespace, f"{broker.namespace}:__heartbeats__", f"{name}.check", f"{name}.check.msgs"]
    with _asking():
        broker.client.register_script(_WRITE_CHECK)(keys=keys)
        return int(broker.client.llen(name))


@contextmanager
def _asking() -> Iterator[None]:
    try:
        yield
    except FAULTS as error:
        raise QueueUnavailableError(explain(error)) from error
