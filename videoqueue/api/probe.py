"""Asking a dependency that may hang, without hanging with it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

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
        self._reason: str | None = None

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
            self._note(str(error))
            answer.set_exception(error)
        else:
            self._note(None)
            answer.set_result(result)

    def _note(self, reason: str | None) -> None:
        if reason == self._reason:
            return
        self._reason = reason
        if reason is None:
            logger.info("A dependency can be used again. probe=%s", self._name)
        else:
            logger.warning("A dependency cannot be used. probe=%s reason=%s", self._name, reason)
