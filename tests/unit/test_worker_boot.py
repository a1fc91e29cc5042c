"""A hook of the boot that fails ends the process: Dramatiq would log it and go on with half a worker."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

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
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


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


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_arrives_during_the_handler_of_the_first_is_ignored(
    redis_url: str, signals: None, first: signal.Signals, second: signal.Signals
) -> None:
    stops: list[int] = []
    for number in (first, second):
        signal.signal(number, lambda number, _frame: stops.append(number))
    broker(redis_url).emit_after("process_boot")
    handler = signal.getsignal(first)
    arrived: list[int] = []

    def arrive(frame: FrameType, event: str, _value: object) -> None:
        if callable(handler) and frame.f_code is handler.__code__ and not arrived:  # before its first line
            arrived.append(second)
            os.kill(os.getpid(), second)

    sys.setprofile(arrive)
    try:
        os.kill(os.getpid(), first)
    finally:
        sys.setprofile(None)
    os.kill(os.getpid(), second)
    assert arrived == [second]
    assert len(stops) == 1


def test_what_must_always_run_starts_before_a_message_is_taken(redis_url: str) -> None:
    consumers: list[int] = []
    started = broker(redis_url, on_start=lambda: consumers.append(len(worker.consumers)))
    worker = Worker(started, worker_threads=1)
    worker.start()
    worker.stop()
    assert consumers == [0]
