"""How many requests of a kind one process serves at once, so that threads remain for the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from flask import Flask

from videoqueue.api.problems import ApiError
from videoqueue.settings import Settings

_KEY = "videoqueue.slots"


class ConcurrencyLimit:
    def __init__(self, limit: int, what: str, setting: str) -> None:
        self._free = threading.BoundedSemaphore(limit)
        self._refusal = (
            f"{limit} {what} at the moment, the most at once in one process ({setting}). Try again shortly."
        )

    def take(self) -> Callable[[], None]:
        """Gives what gives it back; to call that more than once does no harm.

        Raises:
            ApiError: `rate_limited`, when none is free.
        """
        if not self._free.acquire(blocking=False):
            raise ApiError("rate_limited", self._refusal)
        held = [self._free]

        def release() -> None:
            if held:
                held.pop().release()

        return release

    @contextmanager
    def taken(self) -> Iterator[None]:
        release = self.take()
        try:
            yield
        finally:
            release()


@dataclass(frozen=True)
class Transfers:
    """The two kinds of requests that take as long as their client likes."""

    uploads: ConcurrencyLimit
    downloads: ConcurrencyLimit


def install(app: Flask, settings: Settings) -> None:
    app.extensions[_KEY] = Transfers(
        ConcurrencyLimit(
            settings.max_concurrent_uploads, "videos are being received", "VIDEOQUEUE_MAX_CONCURRENT_UPLOADS"
        ),
        ConcurrencyLimit(
            settings.max_concurrent_downloads, "results are being sent", "VIDEOQUEUE_MAX_CONCURRENT_DOWNLOADS"
        ),
    )


def transfers_of(app: Flask) -> Transfers:
    transfers: Transfers = app.extensions[_KEY]
    return transfers
