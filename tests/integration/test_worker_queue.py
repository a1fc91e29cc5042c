"""A queue that goes away while a worker has messages in hand: no thread of it ends, and it stops in order."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from dramatiq import Worker
from dramatiq.broker import Broker
from dramatiq.brokers.redis import RedisBroker
from dramatiq.message import Message
from dramatiq.middleware import Middleware, Retries

from tests.support.stack import eventually
from tests.support.tcp_proxy import TcpProxy
from videoqueue.broker import ACTOR, QUEUE, announce, build_broker
from videoqueue.worker import actors

LATER = 3_600_000  # milliseconds


class Cut(Middleware):
    """Takes the queue away in the moment in which a consumer moves a delayed message whose time has come."""

    def __init__(self, proxy: TcpProxy, outage: ExitStack) -> None:
        self._proxy, self._outage = proxy, outage
        self.happened = threading.Event()

    def before_enqueue(self, broker: Broker, message: Message[None], delay: int) -> None:
        if threading.current_thread() is not threading.main_thread() and not self.happened.is_set():
            self._outage.enter_context(self._proxy.down())
            self.happened.set()


@pytest.fixture
def proxy(redis_url: str) -> Iterator[TcpProxy]:
    port = int(redis_url.rpartition(":")[2].partition("/")[0])
    with TcpProxy(("127.0.0.1", port)) as proxy:
        yield proxy


def delayed(broker: RedisBroker, milliseconds: int) -> uuid.UUID:
    job_id = uuid.uuid4()
    message: Message[None] = Message(
        queue_name=QUEUE, actor_name=ACTOR, args=(), kwargs={"job_id": str(job_id)}, options={}
    )
    broker.enqueue(message, delay=milliseconds)
    return job_id


def goes_on(queue: str, caplog: pytest.LogCaptureFixture) -> bool:
    said = [record.message for record in caplog.records if record.name.endswith(f"ConsumerThread({queue})")]
    return any(line.startswith("Restarting consumer") for line in said)


def test_delayed_messages_are_taken_again_after_an_outage(
    proxy: TcpProxy, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    done: list[uuid.UUID] = []
    with ExitStack() as outage:
        cut = Cut(proxy, outage)
        broker = build_broker(f"redis://127.0.0.1:{proxy.port}/0", [Retries(), cut])
        actors.declare(broker, done.append, 1)
        delayed(broker, LATER)  # the first in the consumer's hands, and there when the other one is due
        delayed(broker, 1)
        worker = Worker(broker, worker_threads=1)
        worker.start()
        assert cut.happened.wait(30)
        eventually(lambda: goes_on(f"{QUEUE}.DQ", caplog), "its consumer goes on", 20)
    job_id = delayed(broker, 1)
    eventually(lambda: job_id in done, "a delayed message is taken")
    worker.stop()


def test_a_worker_stops_in_order_while_the_queue_is_away(proxy: TcpProxy) -> None:
    stopped: list[bool] = []
    working, over = threading.Event(), threading.Event()

    class Stopped(Middleware):
        def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
            stopped.append(True)

    def work(job_id: uuid.UUID) -> None:
        working.set()
        over.wait(60)

    broker = build_broker(f"redis://127.0.0.1:{proxy.port}/0", [Retries(), Stopped()])
    actors.declare(broker, work, 1)
    worker = Worker(broker, worker_threads=1)
    for _ in range(2):
        announce(broker, uuid.uuid4())
    worker.start()
    assert working.wait(30)
    eventually(lambda: worker.work_queue.qsize() == 1, "a second message is fetched")
    with proxy.down():
        worker.stop(timeout=100)
    assert stopped == [True]
    over.set()
    for thread in worker.workers:
        thread.join(30)
        assert not thread.is_alive()
