"""Asking a dependency that may hang, without hanging with it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Probe(Generic[T]):
    """Asks in a thread of its own. Who asks while an answer is out waits for that one: no threads pile up."""

    def __init__(self, name: str, question: Callable[[], T]) -> None:
        self._name = name
        self._question = question
        self._lock = threading.Lock()
        self._open: Future[T] | None = None

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
            answer.set_result(self._question())
        except Exception as error:  # noqa: BLE001 - whoever waits for the answer gets it raised
            answer.set_exception(error)
