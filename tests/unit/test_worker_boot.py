"""A hook of the boot that fails ends the process: Dramatiq would log it and go on with half a worker."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator

import pytest
from dramatiq import Worker
from dramatiq.brokers.redis import RedisBroker

from videoqueue.broker import build_broker
from videoqueue.worker import lifecycle
from videoqueue.worker.lifecycle import Lifecycle


def fail() -> None:
    raise RuntimeError("can't start new thread")


def broker(redis_url: str, **hooks: Callable[[], None]) -> RedisBroker:
    nothing: dict[str, Callable[[], None]] = dict.fromkeys(
        ("on_start", "on_ready", "on_stop", "on_stopped"), lambda: None
    )
    return build_broker(redis_url, [Lifecycle(threading.Event(), **nothing | hooks)])


@pytest.fixture
def signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("hook", ["on_start", "on_ready"])
def test_a_worker_that_cannot_start_a_part_of_it_ends(redis_url: str, hook: str) -> None:
    worker = Worker(broker(redis_url, **{hook: fail}), worker_threads=1)
    with pytest.raises(SystemExit) as ended:
        worker.start()
    worker.stop()
    assert str(ended.value) == (
        "videoqueue: The worker could not start: RuntimeError: can't start new thread"
    )


def test_a_worker_that_cannot_be_tied_to_its_master_ends(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, signals: None
) -> None:
    monkeypatch.setattr(lifecycle.Lifecycle, "_tie_to_master", lambda self: fail())
    with pytest.raises(SystemExit):
        broker(redis_url).emit_after("process_boot")


def test_what_must_always_run_starts_before_a_message_is_taken(redis_url: str) -> None:
    consumers: list[int] = []
    started = broker(redis_url, on_start=lambda: consumers.append(len(worker.consumers)))
    worker = Worker(started, worker_threads=1)
    worker.start()
    worker.stop()
    assert consumers == [0]
