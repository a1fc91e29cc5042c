"""Asking a dependency that may hang, without hanging with it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from videoqueue.causes import cause_of, with_cause

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Probe(Generic[T]):
    """Asks in a thread of its own. Who asks while an answer is out waits for that one: no threads pile up.

    Why a question fails is logged when the reason changes, not each time: probes come every few seconds.
    """

    def __init__(self, name: str, question: Callable[[], T]) -> None:
        self._name = name
        self._question = question
        self._lock = threading.Lock()
        self._open: Future[T] | None = None
        self._kind: tuple[str, str] | None = None

    def ask(self) -> Future[T]:
        """The answer to come; wait for it with a timeout."""
        with self._lock:
            if self._open is None or self._open.done():
                self._open = Future()
                # A daemon: a dependency that hangs must not keep the process from ending.
                threading.Thread(target=self._run, args=(self._open,), name=self._name, daemon=True).start()
            return self._open

    def _run(self, answer: Future[T]) -> None:
        try:
            result = self._question()
        except Exception as error:  # noqa: BLE001 - whoever waits for the answer gets it raised
            self._note(error)
            answer.set_exception(error)
        else:
            self._note(None)
            answer.set_result(result)

    def _note(self, error: Exception | None) -> None:
        # The rest of the cause may differ each time.
        kind = None if error is None else (str(error), cause_of(error).partition(":")[0])
        if kind == self._kind:
            return
        self._kind = kind
        if error is None:
            logger.info("A dependency can be used again. probe=%s", self._name)
        else:
            logger.warning("A dependency cannot be used. probe=%s %s", self._name, with_cause(error))
