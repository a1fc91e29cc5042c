"""Whether the database would store a job, found out without writing a row."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from videoqueue.errors import DatabaseUnavailableError
from videoqueue.jobs.database import busy_timeout, reading, seconds_since_full
from videoqueue.jobs.database_errors import REFUSES, is_busy
from videoqueue.jobs.tables import (
    API_KEY,
    CHUNK,
    COUNTER,
    DELETED_JOB,
    HEARTBEAT,
    JOB,
    JOB_SEGMENTS,
    OWNER_STATE,
    SESSION,
    WEBHOOK_EVENT,
)

#: How long the database counts as full after a write found no space; seconds. Only a write can detect it.
_FULL_SECONDS: Final = 10.0

#: Statements that change no row. They fail when a column or a privilege is missing, or the database is read
#: only.
_HARMLESS_WRITES: Final = (
    *(
        sa.insert(table).from_select(list(table.c), sa.select(table).where(sa.false()))
        for table in (
            JOB,
            CHUNK,
            JOB_SEGMENTS,
            DELETED_JOB,
            COUNTER,
            HEARTBEAT,
            API_KEY,
            OWNER_STATE,
            SESSION,
            WEBHOOK_EVENT,
        )
    ),
    sa.update(JOB).values(status=JOB.c.status).where(sa.false()),
    sa.update(COUNTER).values(value=COUNTER.c.value).where(sa.false()),
    sa.update(API_KEY).values(last_used_at=API_KEY.c.last_used_at).where(sa.false()),
    sa.update(OWNER_STATE).values(last_claim=OWNER_STATE.c.last_claim).where(sa.false()),
    sa.update(WEBHOOK_EVENT).values(tries=WEBHOOK_EVENT.c.tries).where(sa.false()),
    sa.update(HEARTBEAT).values(seen_at=HEARTBEAT.c.seen_at).where(sa.false()),
)


def require_writable(engine: Engine) -> None:
    """Checks that the database has the tables of this version and would store a job. Writes no row.

    Raises:
        DatabaseUnavailableError: it has not, would not, or does not respond.
    """
    if seconds_since_full(engine) < _FULL_SECONDS:
        raise DatabaseUnavailableError(REFUSES)
    with reading(engine) as connection:
        if connection.dialect.name != "sqlite":
            _try_writes(connection)
            return
        try:
            with busy_timeout(connection, 0):
                _try_writes(connection)
        except sa.exc.OperationalError as error:
            # Another process is writing, which also shows that the database can be written.
            if not is_busy(error):
                raise


def _try_writes(connection: Connection) -> None:
    for statement in _HARMLESS_WRITES:
        connection.execute(statement)
    connection.rollback()
