"""A hook of the boot that fails ends the process: Dramatiq would log it and go on with half a worker."""

from __future__ import annotations

import signal
import subprocess
import sys
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


#: A process that is sent a second signal when the handler of the first has not run a line yet.
TWO_SIGNALS = """
import os, signal, sys, threading
from videoqueue.broker import build_broker
from videoqueue.worker.lifecycle import Lifecycle

first, second = (signal.Signals[name] for name in sys.argv[2:])
stops, arrived = [], []
for number in (first, second):
    signal.signal(number, lambda number, _frame: stops.append(number))
hooks = dict.fromkeys(("on_start", "on_ready", "on_stop", "on_stopped"), lambda: None)
build_broker(sys.argv[1], [Lifecycle(threading.Event(), **hooks)]).emit_after("process_boot")
code = signal.getsignal(first).__code__

def arrive(frame, event, _value):
    if frame.f_code is code and not arrived:
        arrived.append(second)
        os.kill(os.getpid(), second)

sys.setprofile(arrive)
os.kill(os.getpid(), first)
sys.setprofile(None)
os.kill(os.getpid(), second)
print([number.name for number in arrived], len(stops))
"""


@pytest.mark.parametrize("first", ["SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("second", ["SIGTERM", "SIGHUP"])
def test_a_signal_that_arrives_during_the_handler_of_the_first_is_ignored(
    redis_url: str, first: str, second: str
) -> None:
    command = [sys.executable, "-P", "-c", TWO_SIGNALS, redis_url, first, second]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{[second]} 1\n", "")


def test_what_must_always_run_starts_before_a_message_is_taken(redis_url: str) -> None:
    consumers: list[int] = []
    started = broker(redis_url, on_start=lambda: consumers.append(len(worker.consumers)))
    worker = Worker(started, worker_threads=1)
    worker.start()
    worker.stop()
    assert consumers == [0]
