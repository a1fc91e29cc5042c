"""How the worker process boots and stops, as Dramatiq middleware."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from dramatiq import Worker
from dramatiq.broker import Broker
from dramatiq.middleware import Middleware

from videoqueue.orphans import die_with_parent


class Lifecycle(Middleware):
    """Ties the process to its master, bounds prefetch, and makes one orderly shutdown of many signals."""

    def __init__(
        self,
        stopping: threading.Event,
        *,
        on_start: Callable[[], None],
        on_stop: Callable[[], None],
        on_stopped: Callable[[], None],
    ) -> None:
        self._stopping = stopping
        self._on_start = on_start
        self._on_stop = on_stop
        self._on_stopped = on_stopped

    def after_process_boot(self, broker: Broker) -> None:
        master = multiprocessing.parent_process()
        if master is not None and master.pid is not None:
            die_with_parent(master.pid)
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

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        # A busy process that prefetches hoards messages which an idle one could start on.
        worker.queue_prefetch = worker.worker_threads

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        self._on_start()

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        self._stopping.set()
        self._on_stop()

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        self._on_stopped()
