"""One engine for Postgres and SQLite: how it connects, begins a transaction and tells the time."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

from videoqueue.errors import DatabaseUnavailableError
from videoqueue.jobs.refusals import AWAY, lacks_space, was_rolled_back, words_for

_READ_ONLY = "videoqueue_read_only"

#: How long a request waits for a connection, and a write for another process' write; seconds.
_CONNECT_SECONDS = 2
LOCK_SECONDS = 10

#: Both for one transaction: behind a pooler such as PgBouncer the session belongs to other clients too.
_BOUNDS = "; ".join(
    f"SET LOCAL {name} = '{LOCK_SECONDS}s'"
    for name in ("lock_timeout", "idle_in_transaction_session_timeout")
)

#: When the last call of this process failed, and when a write found no room, by the monotonic clock.
_last_failure: WeakKeyDictionary[Engine, float] = WeakKeyDictionary()
_last_full: WeakKeyDictionary[Engine, float] = WeakKeyDictionary()


def engine_options(url: str, connections: int) -> dict[str, Any]:
    """Options for `create_engine`: at most so many connections, bounded waits, and none handed out dead."""
    options: dict[str, Any] = {
        "pool_size": connections,
        "max_overflow": 0,
        "pool_timeout": _CONNECT_SECONDS,
    }
    if url.startswith("sqlite"):
        return options | {"connect_args": {"timeout": LOCK_SECONDS}}
    keepalive = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
    return options | {
        "pool_pre_ping": True,
        "connect_args": {
            # Behind PgBouncer the next transaction may run in a session without our prepared statements.
            "prepare_threshold": None,
            "connect_timeout": _CONNECT_SECONDS,
            "tcp_user_timeout": 10_000,
            **keepalive,
        },
    }


def prepare(engine: Engine) -> None:
    """Bounds waits for Postgres' locks; makes SQLite behave: WAL, durable commits, writes that lock at once.

    The driver's own deferred transactions lose updates between processes; a transaction that reads and then
    writes must begin IMMEDIATE.
    """
    if engine.dialect.name != "sqlite":

        @event.listens_for(engine, "begin")
        def _bound_locks(connection: Connection) -> None:
            # A process that froze in the middle of a transaction must not keep the others waiting.
            connection.exec_driver_sql(_BOUNDS)

        return

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # BEGIN is ours to send
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        read_only = connection.get_execution_options().get(_READ_ONLY)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A short read transaction.

    Raises:
        DatabaseUnavailableError: the database does not answer, or refuses.
    """
    try:
        with _connected(engine) as connection:
            yield connection.execution_options(**{_READ_ONLY: True})
    except sa.exc.SQLAlchemyError as error:
        _raise_unavailable(engine, error)
        raise


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A write transaction, committed at the end of the block.

    Raises:
        DatabaseUnavailableError: the database does not answer, or refuses; `may_have_committed` says whether
            the changes may be there all the same.
    """
    committing = False
    try:
        with _connected(engine) as connection:
            yield connection
            committing = True
            connection.commit()
    except sa.exc.SQLAlchemyError as error:
        _raise_unavailable(engine, error, may_have_committed=committing and not was_rolled_back(error))
        raise
    _last_full.pop(engine, None)


def _connected(engine: Engine) -> Connection:
    """Connects; psycopg hands on what the system says when this process has no file left to wait with."""
    try:
        return engine.connect()
    except OSError as error:
        _last_failure[engine] = time.monotonic()
        raise DatabaseUnavailableError(AWAY) from error


def _raise_unavailable(
    engine: Engine, error: sa.exc.SQLAlchemyError, *, may_have_committed: bool = False
) -> None:
    """Raises DatabaseUnavailableError, caused by the driver's own error, unless that is a bug of ours."""
    words = words_for(error)
    if words is None:
        return
    _last_failure[engine] = time.monotonic()
    if lacks_space(error):
        _last_full[engine] = time.monotonic()
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else None
    raise DatabaseUnavailableError(words, may_have_committed=may_have_committed) from cause or error


def now(connection: Connection) -> int:
    """Microseconds since 1970: the database server's clock, or on SQLite (one host) this host's."""
    if connection.dialect.name == "sqlite":
        return time.time_ns() // 1000
    clock = sa.text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
    return int(connection.execute(clock).scalar_one())


def microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)


def seconds_since_failure(engine: Engine) -> float:
    """How long ago a call of this process failed for want of the database; infinity when none did."""
    return time.monotonic() - _last_failure.get(engine, -math.inf)


def seconds_since_full(engine: Engine) -> float:
    """How long ago a write found no room; infinity when none did, or one has succeeded since."""
    return time.monotonic() - _last_full.get(engine, -math.inf)
