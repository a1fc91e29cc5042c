"""A daemon thread that calls a function periodically and survives its exceptions."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from videoqueue.causes import cause_fields
from videoqueue.errors import TransientError

logger = logging.getLogger(__name__)

#: How long the end of the process waits for the current pass; seconds. A pass may be interrupted anywhere.
_END_SECONDS = 3


class Periodic:
    """Calls `work` again and again, and `on_stop` once after the last call.

    A transient error (database, queue or storage) ends a pass with one log line. The next pass follows after
    `retry` seconds, which double with each further such pass up to `pause`. Any other exception is logged
    with its stack trace, and the next pass follows after `pause` seconds.

    Args:
        name: the name of the thread.
        work: one pass; it returns the seconds until the next one.
        pause: seconds to the next pass after one that failed.
        first: seconds to the first pass.
        retry: seconds to the next pass after a transient error; None for `pause`.
        on_stop: called when the thread ends.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], float],
        *,
        pause: float,
        first: float = 0.0,
        retry: float | None = None,
        on_stop: Callable[[], None] = lambda: None,
    ) -> None:
        self._name, self._work, self._on_stop = name, work, on_stop
        self._pause, self._first = pause, first
        self._retry = self._next_retry = pause if retry is None else min(retry, pause)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after its current pass. A pass that hangs is left to end with the process."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_END_SECONDS)

    def _run(self) -> None:
        pause = self._first
        while not self._stopping.wait(pause):
            pause = self.run_pass()
        self._guarded(self._on_stop)

    def run_pass(self) -> float:
        """Runs one pass.

        Returns:
            Seconds until the next pass.
        """
        return self._guarded(self._work) or self._pause

    def _guarded(self, work: Callable[[], float | None]) -> float | None:
        try:
            pause = work()
        except TransientError as error:
            logger.warning("A pass was cut short.", extra={"thread_name": self._name, **cause_fields(error)})
            pause, self._next_retry = self._next_retry, min(2 * self._next_retry, self._pause)
            return pause
        except BaseException:  # no exception may end the thread that rescues jobs
            logger.exception("A pass met a bug.", extra={"thread_name": self._name})
            return self._pause
        self._next_retry = self._retry
        return pause
