"""Finds out, without writing a row, whether the database would take a job and its results."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from videoqueue.errors import DatabaseUnavailableError
from videoqueue.jobs.database import LOCK_SECONDS, reading, seconds_since_full
from videoqueue.jobs.refusals import REFUSES, is_busy
from videoqueue.jobs.tables import CHUNK, HEARTBEAT, JOB

#: Only a write that needs room tells that the disk is full: the last one counts for so long; seconds.
_FULL_SECONDS = 10.0

#: Each changes no row, but is refused when a column or a right is missing or the database is read only.
_HARMLESS = [
    *(
        sa.insert(table).from_select(list(table.c), sa.select(table).where(sa.false()))
        for table in (JOB, CHUNK, HEARTBEAT)
    ),
    sa.update(JOB).values(status=JOB.c.status).where(sa.false()),
    sa.update(HEARTBEAT).values(seen_at=HEARTBEAT.c.seen_at).where(sa.false()),
]


def require_usable(engine: Engine) -> None:
    """Returns when the database has this version's tables and takes writes.

    Raises:
        DatabaseUnavailableError: it does not answer, or would refuse.
    """
    if seconds_since_full(engine) < _FULL_SECONDS:
        raise DatabaseUnavailableError(REFUSES)
    with reading(engine) as connection:
        if connection.dialect.name == "sqlite":
            _try_sqlite(connection)
        else:
            _try(connection)


def _try(connection: Connection) -> None:
    for statement in _HARMLESS:
        connection.execute(statement)
    connection.rollback()


def _try_sqlite(connection: Connection) -> None:
    """Waits for no other writer: one that holds the lock shows as well that the database takes writes."""
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute("PRAGMA busy_timeout = 0").close()
    try:
        _try(connection)
    except sa.exc.OperationalError as error:
        if not is_busy(error):
            raise
    finally:
        driver.execute(f"PRAGMA busy_timeout = {LOCK_SECONDS * 1000}").close()
