"""One migration at a time, in one transaction: a second release command waits for the first."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from videoqueue.jobs.database import LOCK_SECONDS, writing
from videoqueue.jobs.deadline import set_deadline

logger = logging.getLogger(__name__)

#: Of the advisory lock on Postgres: "vq" and "migr" as numbers of four bytes.
_LOCK: Final = "30321, 1835624306"
#: How long SQLite waits for the other migration; seconds. Postgres waits as long as it takes.
_WAIT_SECONDS: Final = 600
#: How long all statements of a migration together may take on Postgres; seconds.
_MIGRATION_SECONDS: Final = 24 * 3600.0


@contextmanager
def migrating(engine: Engine) -> Iterator[Connection]:
    """A write transaction that holds the right to migrate until its end, also behind PgBouncer.

    Raises:
        DatabaseUnavailableError: the database does not answer, or refuses.
    """
    set_deadline(_MIGRATION_SECONDS)
    try:
        with writing(engine) as connection:
            if connection.dialect.name == "sqlite":
                _begin_sqlite(connection)
            else:
                _take_turn(connection)
            yield connection
    finally:
        set_deadline(None)


def _begin_sqlite(connection: Connection) -> None:
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute(f"PRAGMA busy_timeout = {_WAIT_SECONDS * 1000}").close()
    try:
        connection.execute(sa.text("SELECT 1"))  # begins, which takes the lock of the whole file
    finally:
        driver.execute(f"PRAGMA busy_timeout = {LOCK_SECONDS * 1000}").close()


def _take_turn(connection: Connection) -> None:
    if connection.execute(sa.text(f"SELECT pg_try_advisory_xact_lock({_LOCK})")).scalar_one():
        return
    logger.warning("Another migration is under way; this one waits until it has ended.")
    connection.execute(sa.text("SET LOCAL lock_timeout = 0"))
    connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
