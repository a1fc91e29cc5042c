"""The start and the end of the worker process, as Dramatiq middleware.

Dramatiq logs an exception of a hook and continues. A worker without its signal handler or its sweeper would
look healthy and would not work, so an exception of a boot hook ends the process; its supervisor restarts it.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from dramatiq import MessageProxy, Worker
from dramatiq.broker import Broker
from dramatiq.middleware import Middleware

from videoqueue import logs
from videoqueue.causes import cause_of
from videoqueue.parent_death import die_with_parent

logger = logging.getLogger(__name__)


class Lifecycle(Middleware):
    """Ends the process with its master, limits prefetch, and shuts down once however many signals arrive.

    It also names the job in every line that Dramatiq logs about a message. To include those of other
    middleware, it comes first in the broker's list: Dramatiq calls `after_` hooks in reverse order.

    Args:
        stopping: set when the shutdown begins.
        on_start: called before the first message is fetched.
        on_ready: called when all threads run.
        on_stop: called when the shutdown begins.
        on_stopped: called when all threads have ended.
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
        with end_on_error():
            self._tie_to_master()
            self._ignore_further_signals()

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        # A busy process must not prefetch messages that an idle one could start on.
        worker.queue_prefetch = worker.worker_threads
        with end_on_error():
            self._on_start()

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        with end_on_error():
            self._on_ready()

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        self._stopping.set()
        self._on_stop()

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        self._on_stopped()

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        logs.set_context(job_id=message.kwargs.get("job_id", ""))

    def after_process_message(
        self, broker: Broker, message: MessageProxy, *, result: object = None, exception: object = None
    ) -> None:
        logs.set_context()

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        logs.set_context()

    def _tie_to_master(self) -> None:
        master = multiprocessing.parent_process()
        if master is not None and master.pid is not None:
            die_with_parent(master.pid)

    def _ignore_further_signals(self) -> None:
        stops = {
            number: handler
            for number in (signal.SIGTERM, signal.SIGHUP)
            if callable(handler := signal.getsignal(number))
        }
        first = threading.Lock()

        def once(number: int, frame: FrameType | None) -> object:
            # Platforms signal the whole group, and the master forwards the signal once more. On a second
            # signal, Dramatiq drops its jobs at once. It may arrive before the first line of this handler
            # has run. Python then calls the handler inside itself, so a lock decides, and not SIG_IGN.
            if not first.acquire(blocking=False):
                return None
            for ignored in stops:
                signal.signal(ignored, signal.SIG_IGN)
            self._stopping.set()
            return stops[signal.Signals(number)](number, frame)

        for number in stops:
            signal.signal(number, once)


@contextmanager
def end_on_error() -> Iterator[None]:
    """Turns an exception of the block into SystemExit, which Dramatiq does not catch, and logs it."""
    try:
        yield
    except Exception as error:
        logger.critical("The worker could not start.", exc_info=True)
        raise SystemExit(f"videoqueue: The worker could not start: {cause_of(error) or error}") from error
