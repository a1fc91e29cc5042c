"""Which errors of a database driver mean that the database cannot be used now; the others are bugs of ours.

Postgres: by SQLSTATE (PostgreSQL documentation, appendix A). SQLite: by result code
(https://www.sqlite.org/rescode.html).
"""

from __future__ import annotations

import sqlite3
from typing import Final

import psycopg
import sqlalchemy as sa

AWAY: Final = "The database does not answer. Try again in a moment."
REFUSES: Final = "The database cannot be used at the moment. Try again in a minute."
IN_USE: Final = (
    "All connections of this process to the database are in use (VIDEOQUEUE_DATABASE_CONNECTIONS). "
    "Try again in a moment."
)

#: Connection lost, login refused, transaction to be repeated, resources used up, limit of the server, object
#: in use, operator's intervention, system error, internal error (of a connection pooler too).
_CLASSES: Final = ("08", "28", "53", "54", "55", "57", "58", "72", "F0", "XX")
_STATES: Final = frozenset(
    {
        "25006",  # read only, as a standby is
        "25P03",  # idle in a transaction for too long
        "25P04",  # the transaction took too long
        "3D000",  # the database is missing
        "3F000",  # the schema is missing
        "40001",  # conflict with another transaction
        "40003",  # outcome unknown
        "40P01",  # deadlock
        "42501",  # a right is missing; hosting platforms revoke INSERT when a plan's size is reached
        "42703",  # a column is missing: the migration has not run
        "42704",  # a type is missing
        "42883",  # a function or operator is missing: a column has another type
        "42P01",  # a table is missing
        "P0001",  # a trigger of the operator refuses
    }
)
#: Connection lost; server stopped or starting.
_LOST: Final = ("08", "57P")
#: What ends by itself, without a change to the database: connection lost, login refused, session timed out,
#: conflict with another transaction, connection slots used up, lock not available, operator's intervention.
_PASSES: Final = ("08", "25P", "28", "40", "53300", "55P03", "57")
_SQLITE_PASSES: Final = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
)

_SQLITE: Final = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_ABORT,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_SCHEMA,
        sqlite3.SQLITE_NOLFS,
        sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_NOTADB,
    }
)
_SQLITE_SCHEMA: Final = ("no such table", "no such column", "has no column named")


def words_for(error: sa.exc.SQLAlchemyError) -> str | None:
    """What to tell a client about a database that cannot be used; None when the error is a bug."""
    if isinstance(error, sa.exc.TimeoutError):
        return IN_USE
    if not isinstance(error, sa.exc.DBAPIError):
        return None
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        return REFUSES if _sqlite_refuses(cause) else None
    state = getattr(cause, "sqlstate", None)
    if state is None:
        lost = isinstance(error, (sa.exc.OperationalError, sa.exc.InterfaceError))
        return AWAY if lost or error.connection_invalidated else None
    if state.startswith(_LOST) or error.connection_invalidated:
        return AWAY
    if state.startswith(_CLASSES) or state in _STATES or isinstance(error, sa.exc.OperationalError):
        return REFUSES
    return None


def lacks_space(error: sa.exc.SQLAlchemyError) -> bool:
    """Whether the database has no room for what was written."""
    cause = getattr(error, "orig", None)
    if isinstance(cause, sqlite3.Error):
        return _sqlite_code(cause) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
    return getattr(cause, "sqlstate", None) == "53100"


def was_refused(error: BaseException) -> bool:
    """Whether a DatabaseUnavailableError means that the database was reached and would refuse again.

    It does for want of rights, tables or room; not when the database is away, busy or stopping.
    """
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        code = _sqlite_code(cause)
        return code is not None and code not in _SQLITE_PASSES
    state = getattr(cause, "sqlstate", None)
    return state is not None and not state.startswith(_PASSES)


def was_rolled_back(error: sa.exc.SQLAlchemyError) -> bool:
    """Whether a COMMIT that ended in this error certainly changed nothing.

    It did not when the server itself refused it and went on: an error of the severity FATAL, or none from the
    server at all, may come after the commit.
    """
    cause = getattr(error, "orig", None)
    if isinstance(cause, sqlite3.Error):
        return _sqlite_code(cause) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY)
    return isinstance(cause, psycopg.Error) and cause.diag.severity_nonlocalized == "ERROR"


def is_busy(error: sa.exc.SQLAlchemyError) -> bool:
    """Whether SQLite's lock is held by another writer."""
    cause = getattr(error, "orig", None)
    return isinstance(cause, sqlite3.Error) and _sqlite_code(cause) == sqlite3.SQLITE_BUSY


def _sqlite_refuses(error: sqlite3.Error) -> bool:
    code = _sqlite_code(error)
    if code is None:
        return isinstance(error, sqlite3.OperationalError)
    if code == sqlite3.SQLITE_ERROR:
        # One code for a missing table and for wrong SQL.
        return any(words in str(error) for words in _SQLITE_SCHEMA)
    return code in _SQLITE


def _sqlite_code(error: sqlite3.Error) -> int | None:
    """The primary result code: the low byte."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
