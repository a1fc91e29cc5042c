"""A daemon thread that calls a function periodically and survives whatever it raises."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from videoqueue.causes import with_cause
from videoqueue.errors import TransientError

logger = logging.getLogger(__name__)

#: How long the end of the process waits for a pass that is under way. Every pass may be cut short anywhere.
_END_SECONDS = 3


class Periodic:
    """Calls `work`, which returns after how many seconds to call it again; after the last call, `last_words`.

    A database, queue or storage that is away or refuses ends a pass with one line in the log. The next pass
    comes after `retry` seconds, which double with each such pass in a row up to `pause`; without `retry`, and
    after any other error, it comes after `pause` seconds.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], float],
        *,
        pause: float,
        first: float = 0.0,
        retry: float | None = None,
        last_words: Callable[[], None] = lambda: None,
    ) -> None:
        self._name, self._work, self._last_words = name, work, last_words
        self._pause, self._first = pause, first
        self._retry = self._next_retry = pause if retry is None else min(retry, pause)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after the pass it is in, or leaves it behind when that hangs."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_END_SECONDS)

    def _run(self) -> None:
        pause = self._first
        while not self._stopping.wait(pause):
            pause = self.run_pass()
        self._guarded(self._last_words)

    def run_pass(self) -> float:
        """Calls `work` once; returns after how many seconds to call it again."""
        return self._guarded(self._work) or self._pause

    def _guarded(self, work: Callable[[], float | None]) -> float | None:
        try:
            pause = work()
        except TransientError as error:
            logger.warning("A pass was cut short. thread=%s %s", self._name, with_cause(error))
            pause, self._next_retry = self._next_retry, min(2 * self._next_retry, self._pause)
            return pause
        except BaseException:  # nothing may end the thread that rescues jobs
            logger.exception("A pass met a bug. thread=%s", self._name)
            return self._pause
        self._next_retry = self._retry
        return pause
