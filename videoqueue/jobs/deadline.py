"""Bounds what a thread waits for Postgres: a server that hangs, unlike one that is gone, says nothing.

Neither libpq nor TCP notices a server that is stopped, or a network that swallows its answers, in less than
minutes. SQLite needs none of this.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
from sqlalchemy import event
from sqlalchemy.engine import Engine

T = TypeVar("T")

#: How long a single statement may take where no deadline is set, seconds. A worker's thread that waited for a
#: lost reply for ever would renew no lease and end no job.
HUNG_SECONDS = 60.0


class _Patience(threading.local):
    until: float | None = None


_patience = _Patience()


def set_deadline(seconds: float | None) -> None:
    """From now on, all that this thread does with the database together may take so long.

    With None, each statement may take `HUNG_SECONDS`.
    """
    _patience.until = None if seconds is None else time.monotonic() + seconds


class ImpatientConnection(psycopg.Connection[Any]):
    """Gives up with OperationalError, and is then closed, when its thread has waited long enough."""

    def wait(self, gen: Generator[Any, Any, T], interval: float = 0.1, timeout: float | None = None) -> T:
        until = _patience.until
        if until is None:
            until = time.monotonic() + HUNG_SECONDS
        left = max(0.0, until - time.monotonic())
        try:
            return super().wait(gen, interval, left if timeout is None else min(left, timeout))
        except psycopg.OperationalError:
            if time.monotonic() >= until:
                # What the server makes of the statement is unknown: the connection cannot be used again.
                self.pgconn.finish()
            raise


def install_deadline(engine: Engine) -> None:
    """Has the engine open connections that heed `set_deadline`."""
    if engine.dialect.name != "postgresql":
        return

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: Any, _record: Any, cargs: Any, cparams: Any) -> ImpatientConnection:
        if _patience.until is not None and time.monotonic() >= _patience.until:
            raise psycopg.OperationalError("no time left to connect to the database")
        return ImpatientConnection.connect(*cargs, **cparams)
