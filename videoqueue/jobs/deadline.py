"""A per-thread deadline for Postgres calls. A hung server reports no error, so a call needs a limit.

libpq and TCP take minutes to detect a stopped server, or a network that drops packets. SQLite runs in this
process and needs no deadline.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
from psycopg.rows import TupleRow
from sqlalchemy import event
from sqlalchemy.engine import Engine

T = TypeVar("T")

#: The time limit of one statement in a thread without a deadline; seconds. A worker's thread that waited for
#: a lost reply would otherwise neither renew its lease nor end its job.
HUNG_SECONDS = 60.0


class _Deadline(threading.local):
    #: By the monotonic clock; None when the thread has no deadline.
    at: float | None = None


_deadline = _Deadline()


def set_deadline(seconds: float | None) -> None:
    """Limits the time of all database calls of this thread together, from now on.

    Args:
        seconds: the limit; None removes the deadline, and each statement may then take `HUNG_SECONDS`.
    """
    _deadline.at = None if seconds is None else time.monotonic() + seconds


def install(engine: Engine) -> None:
    """Makes the engine open connections that obey `set_deadline`. Does nothing for SQLite.

    A call that reaches the deadline raises OperationalError, and its connection is closed.
    """
    if engine.dialect.name != "postgresql":
        return

    @event.listens_for(engine, "do_connect")
    def _connect(
        _dialect: object, _record: object, arguments: list[str], options: dict[str, Any]
    ) -> psycopg.Connection[TupleRow]:
        if _deadline.at is not None and time.monotonic() >= _deadline.at:
            raise psycopg.OperationalError("no time left to connect to the database")
        return DeadlineConnection.connect(*arguments, **options)


class DeadlineConnection(psycopg.Connection[TupleRow]):
    """A connection that stops waiting at its thread's deadline."""

    def wait(
        self, gen: Generator[Any, Any, T], interval: float = 0.1, timeout: float | None = None
    ) -> T:  # the signature is psycopg's
        """Returns what psycopg's `wait` returns. Raises psycopg.OperationalError at the thread's deadline."""
        at = _deadline.at
        if at is None:
            at = time.monotonic() + HUNG_SECONDS
        left = max(0.0, at - time.monotonic())
        try:
            return super().wait(gen, interval, left if timeout is None else min(left, timeout))
        except psycopg.OperationalError:
            if time.monotonic() >= at:
                # Whether the server executes the statement is unknown, so the connection cannot be reused.
                self.pgconn.finish()
            raise
