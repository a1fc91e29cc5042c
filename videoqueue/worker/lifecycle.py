"""How the worker process boots and stops, as Dramatiq middleware.

Dramatiq logs what a hook raises and goes on. A worker that goes on without its signal handler or its sweeper
looks alive and is not, so a hook of the boot that fails ends the process: whoever started it starts it again.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from dramatiq import Worker
from dramatiq.broker import Broker
from dramatiq.middleware import Middleware

from videoqueue.causes import cause_of
from videoqueue.parent_death import die_with_parent

logger = logging.getLogger(__name__)


class Lifecycle(Middleware):
    """Ties the process to its master, bounds prefetch, and makes one orderly shutdown of many signals.

    `on_start` is called before the first message is taken, `on_ready` when all threads run.
    """

    def __init__(
        self,
        stopping: threading.Event,
        *,
        on_start: Callable[[], None],
        on_ready: Callable[[], None],
        on_stop: Callable[[], None],
        on_stopped: Callable[[], None],
    ) -> None:
        self._stopping = stopping
        self._on_start = on_start
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._on_stopped = on_stopped

    def after_process_boot(self, broker: Broker) -> None:
        with _whole_or_ended():
            self._tie_to_master()
            self._make_one_shutdown_of_many_signals()

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        # A busy process that prefetches hoards messages which an idle one could start on.
        worker.queue_prefetch = worker.worker_threads
        with _whole_or_ended():
            self._on_start()

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        with _whole_or_ended():
            self._on_ready()

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        self._stopping.set()
        self._on_stop()

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        self._on_stopped()

    def _tie_to_master(self) -> None:
        master = multiprocessing.parent_process()
        if master is not None and master.pid is not None:
            die_with_parent(master.pid)

    def _make_one_shutdown_of_many_signals(self) -> None:
        stop = signal.getsignal(signal.SIGTERM)
        if not callable(stop):
            return

        def once(number: int, frame: FrameType | None) -> Any:
            # Platforms signal the whole group and the master forwards it once more; Dramatiq takes a second
            # SIGTERM as an order to drop its jobs at once.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            self._stopping.set()
            return stop(number, frame)

        signal.signal(signal.SIGTERM, once)


@contextmanager
def _whole_or_ended() -> Iterator[None]:
    """Ends the process when the block raises. Dramatiq catches Exception, and not SystemExit."""
    try:
        yield
    except Exception as error:
        logger.critical("The worker could not start.", exc_info=True)
        raise SystemExit(f"videoqueue: The worker could not start: {cause_of(error) or error}") from error
