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

_READ_ONLY = "videoqueue_read_only"

#: How long a request waits for a connection, and a write for another process' write; seconds.
_CONNECT_SECONDS = 2
_LOCK_SECONDS = 10

#: When the last call of this process failed, by the monotonic clock.
_last_failure: WeakKeyDictionary[Engine, float] = WeakKeyDictionary()


def engine_options(url: str, pool_size: int) -> dict[str, Any]:
    """Options for `create_engine`: bounded waits, and no connection handed out that is dead."""
    options: dict[str, Any] = {"pool_size": pool_size, "pool_timeout": _CONNECT_SECONDS}
    if url.startswith("sqlite"):
        return options | {"connect_args": {"timeout": _LOCK_SECONDS}}
    keepalive = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
    return options | {
        "pool_pre_ping": True,
        "connect_args": {"connect_timeout": _CONNECT_SECONDS, "tcp_user_timeout": 10_000, **keepalive},
    }


def prepare(engine: Engine) -> None:
    """Bounds waits for Postgres' locks; makes SQLite behave: WAL, durable commits, writes that lock at once.

    The driver's own deferred transactions lose updates between processes; a transaction that reads and then
    writes must begin IMMEDIATE.
    """
    if engine.dialect.name != "sqlite":
        event.listen(engine, "connect", _bound_locks)
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


def _bound_locks(connection: Any, _record: Any) -> None:
    """A process that froze in the middle of a transaction must not keep the others waiting for its rows."""
    for name in ("lock_timeout", "idle_in_transaction_session_timeout"):
        connection.execute(f"SET {name} = '{_LOCK_SECONDS}s'")
    connection.commit()


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A short read transaction. Raises DatabaseUnavailableError when the database does not answer."""
    with _translated(engine), engine.connect() as connection:
        yield connection.execution_options(**{_READ_ONLY: True})


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A write transaction, committed at the end of the block. Raises DatabaseUnavailableError."""
    with _translated(engine), engine.begin() as connection:
        yield connection


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


@contextmanager
def _translated(engine: Engine) -> Iterator[None]:
    try:
        yield
    except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError) as error:
        _last_failure[engine] = time.monotonic()
        raise DatabaseUnavailableError("The database does not answer. Try again in a moment.") from error
    except sa.exc.DBAPIError as error:
        if not error.connection_invalidated:
            raise
        _last_failure[engine] = time.monotonic()
        raise DatabaseUnavailableError("The connection to the database was lost. Try again.") from error
