"""Connections, transactions, migrations and the clock of a Postgres or SQLite database."""

from __future__ import annotations

import logging
import math
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine, ExceptionContext

from videoqueue.errors import DatabaseUnavailableError
from videoqueue.jobs.database_errors import (
    AWAY,
    is_out_of_space,
    is_read_only,
    message_for,
    was_rolled_back,
)
from videoqueue.jobs.deadline import set_deadline

logger = logging.getLogger(__name__)

_READ_ONLY: Final = "videoqueue_read_only"

#: How long a request waits for a connection; seconds.
_CONNECT_SECONDS: Final = 2
#: How long a transaction waits for a lock of another one; seconds.
LOCK_SECONDS: Final = 10

#: When the server asks whether the machine of its client is still there, and how often until it gives up.
_SERVER_KEEPALIVE: Final = {"tcp_keepalives_idle": 5, "tcp_keepalives_interval": 2, "tcp_keepalives_count": 3}

#: Set for each transaction: behind a pooler such as PgBouncer, other clients use the same session.
#: A server that has received only a part of a statement is not idle: it keeps its locks until TCP finds out
#: that the client's machine is gone, by default after hours.
_LOCAL_TIMEOUTS: Final = "; ".join(
    f"SET LOCAL {name} = {value}"
    for name, value in {
        "lock_timeout": f"'{LOCK_SECONDS}s'",
        "idle_in_transaction_session_timeout": f"'{LOCK_SECONDS}s'",
        **_SERVER_KEEPALIVE,
    }.items()
)

#: The key of the advisory lock for migrations: "vq" and "migr" as integers of four bytes.
_MIGRATION_LOCK: Final = "30321, 1835624306"
#: How long SQLite waits for another migration; seconds. Postgres waits until the other has ended.
_MIGRATION_WAIT_SECONDS: Final = 600
#: The time limit of a whole migration on Postgres; seconds.
_MIGRATION_SECONDS: Final = 24 * 3600.0

#: When a call of this process last failed, and when a write last found no space; by the monotonic clock.
_last_failure: WeakKeyDictionary[Engine, float] = WeakKeyDictionary()
_last_full: WeakKeyDictionary[Engine, float] = WeakKeyDictionary()


def engine_options(url: str, connections: int) -> dict[str, Any]:
    """Returns the options for `create_engine`: a bounded pool, timeouts, and a check of idle connections.

    Args:
        url: the database URL.
        connections: the maximum number of open connections.
    """
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
            # Behind PgBouncer, the next transaction may run in a session without the prepared statements.
            "prepare_threshold": None,
            # The driver returns bytes from a database in SQL_ASCII, unless it is told an encoding.
            "client_encoding": "utf8",
            "connect_timeout": _CONNECT_SECONDS,
            "tcp_user_timeout": 10_000,
            **keepalive,
        },
    }


def prepare(engine: Engine) -> None:
    """Installs the engine's event handlers; call it once, before the first connection.

    Postgres: limits the wait for locks, and closes connections to a server that is read-only.
    SQLite: WAL, durable commits, foreign keys, and BEGIN IMMEDIATE for write transactions. With the driver's
    own deferred transactions, two processes that read and then write fail, or lose an update.
    """
    if engine.dialect.name != "sqlite":

        @event.listens_for(engine, "begin")
        def _limit_locks(connection: Connection) -> None:
            # A process that froze within a transaction must not block the others.
            connection.exec_driver_sql(_LOCAL_TIMEOUTS)

        @event.listens_for(engine, "handle_error")
        def _leave_standby(context: ExceptionContext) -> None:
            # A primary that became a standby may keep its connections open. New ones find the new primary.
            if is_read_only(context.original_exception):
                context.is_disconnect = True

        return

    @event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver sends no BEGIN of its own
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        read_only = connection.get_execution_options().get(_READ_ONLY)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Runs the block in a short read transaction. Yields its connection.

    Raises:
        DatabaseUnavailableError: the database does not respond, or refuses the statement.
    """
    try:
        with _connected(engine) as connection:
            yield connection.execution_options(**{_READ_ONLY: True})
    except sa.exc.SQLAlchemyError as error:
        _raise_unavailable(engine, error)
        raise


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Runs the block in a write transaction and commits it at the end. Yields its connection.

    Raises:
        DatabaseUnavailableError: the database does not respond, or refuses the statement. Its attribute
            `may_have_committed` is true when the connection was lost at COMMIT.
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


@contextmanager
def migrating(engine: Engine) -> Iterator[Connection]:
    """Runs the block in a write transaction that holds the lock for migrations. Yields its connection.

    A second migration waits for the first. The lock belongs to the transaction, so it works behind PgBouncer.

    Raises:
        DatabaseUnavailableError: the database does not respond, or refuses the statement.
    """
    set_deadline(_MIGRATION_SECONDS)
    try:
        with writing(engine) as connection:
            if connection.dialect.name == "sqlite":
                with busy_timeout(connection, _MIGRATION_WAIT_SECONDS):
                    connection.execute(sa.text("SELECT 1"))  # sends BEGIN IMMEDIATE, which locks the file
            else:
                _lock_migrations(connection)
            yield connection
    finally:
        set_deadline(None)


def _lock_migrations(connection: Connection) -> None:
    if connection.execute(sa.text(f"SELECT pg_try_advisory_xact_lock({_MIGRATION_LOCK})")).scalar_one():
        return
    logger.warning("Another migration is running. This one waits until it has ended.")
    connection.execute(sa.text("SET LOCAL lock_timeout = 0"))
    connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
    connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))


@contextmanager
def busy_timeout(connection: Connection, seconds: int) -> Iterator[None]:
    """Changes how long SQLite waits for another writer within the block."""
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute(f"PRAGMA busy_timeout = {seconds * 1000}").close()
    try:
        yield
    finally:
        driver.execute(f"PRAGMA busy_timeout = {LOCK_SECONDS * 1000}").close()


def _connected(engine: Engine) -> Connection:
    try:
        return engine.connect()
    except OSError as error:  # psycopg passes it on when this process has no file descriptor left
        _last_failure[engine] = time.monotonic()
        raise DatabaseUnavailableError(AWAY) from error


def _raise_unavailable(
    engine: Engine, error: sa.exc.SQLAlchemyError, *, may_have_committed: bool = False
) -> None:
    """Raises DatabaseUnavailableError, caused by the driver's error; returns when the error is a bug."""
    message = message_for(error)
    if message is None:
        return
    _last_failure[engine] = time.monotonic()
    if is_out_of_space(error):
        _last_full[engine] = time.monotonic()
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else None
    raise DatabaseUnavailableError(message, may_have_committed=may_have_committed) from cause or error


def now(connection: Connection) -> int:
    """Returns the time in microseconds since 1970: the clock of Postgres, or of this host for SQLite."""
    if connection.dialect.name == "sqlite":
        return time.time_ns() // 1000
    clock = sa.text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
    return int(connection.execute(clock).scalar_one())


def microseconds(seconds: float) -> int:
    """Returns a duration in microseconds, as the rows hold it."""
    return round(seconds * 1_000_000)


def seconds_since_failure(engine: Engine) -> float:
    """Returns the seconds since a call of this process last failed; infinity when none has."""
    return time.monotonic() - _last_failure.get(engine, -math.inf)


def seconds_since_full(engine: Engine) -> float:
    """Returns the seconds since a write found no space; infinity when none did, or one succeeded since."""
    return time.monotonic() - _last_full.get(engine, -math.inf)
