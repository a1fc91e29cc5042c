"""Classifies driver errors: the database cannot be used at the moment, or the program has a bug.

Sources: the SQLSTATE codes of Postgres (PostgreSQL documentation, appendix A) and the result codes of SQLite
(https://www.sqlite.org/rescode.html).
"""

from __future__ import annotations

import sqlite3
from typing import Final

import psycopg
import sqlalchemy as sa

AWAY: Final = "The database does not answer. Try again in a moment."
REFUSES: Final = "The database cannot be used at the moment. Try again in a minute."
#: The SQLSTATE of a write to a server that is read-only, such as a standby.
READ_ONLY: Final = "25006"
IN_USE: Final = (
    "All connections of this process to the database are in use (VIDEOQUEUE_DATABASE_CONNECTIONS). "
    "Try again in a moment."
)

#: Classes: connection lost, login rejected, resources exhausted, program limit exceeded, object not in the
#: required state, operator intervention, system error, snapshot too old, configuration error, internal error.
_CLASSES: Final = ("08", "28", "53", "54", "55", "57", "58", "72", "F0", "XX")
_STATES: Final = frozenset(
    {
        READ_ONLY,
        "25P03",  # the transaction was idle for too long
        "25P04",  # the transaction took too long
        "3D000",  # the database is missing
        "3F000",  # the schema is missing
        "40001",  # conflict with another transaction
        "40003",  # the outcome of the statement is unknown
        "40P01",  # deadlock
        "42501",  # a privilege is missing; hosting platforms revoke INSERT when a plan's size is reached
        "42703",  # a column is missing: the migration has not run
        "42704",  # a type is missing
        "42883",  # a function or operator is missing, because a column has another type
        "42P01",  # a table is missing
        "P0001",  # a trigger raised an error
    }
)
#: The connection was lost, or the server stops or starts.
_LOST: Final = ("08", "57P")
#: Errors that pass without a change to the database: connection lost, login rejected, session timed out,
#: conflict with another transaction, no connection slot free, lock not available, operator intervention.
_PASSES: Final = ("08", "25P", "28", "40", "53300", "55P03", "57")
_SQLITE_PASSES: Final = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
)

_SQLITE_CODES: Final = frozenset(
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


def message_for(error: sa.exc.SQLAlchemyError) -> str | None:
    """Returns the message for the client when the database cannot be used; None when the error is a bug."""
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
    if state.startswith(_LOST) or (error.connection_invalidated and state != READ_ONLY):
        return AWAY
    if state.startswith(_CLASSES) or state in _STATES or isinstance(error, sa.exc.OperationalError):
        return REFUSES
    return None


def is_read_only(error: BaseException) -> bool:
    """Returns whether a Postgres server, such as a standby, refused a write because it is read-only.

    Args:
        error: the driver's error.
    """
    return getattr(error, "sqlstate", None) == READ_ONLY


def is_out_of_space(error: sa.exc.SQLAlchemyError) -> bool:
    """Returns whether the disk of the database is full."""
    cause = getattr(error, "orig", None)
    if isinstance(cause, sqlite3.Error):
        return _sqlite_code(cause) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
    return getattr(cause, "sqlstate", None) == "53100"


def was_refused(error: BaseException) -> bool:
    """Returns whether the database was reached and would refuse the statement again.

    That is so when privileges, tables or disk space are missing. It is not so when the database is away, busy
    or stopping.

    Args:
        error: a DatabaseUnavailableError, whose cause is the driver's error.
    """
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        code = _sqlite_code(cause)
        return code is not None and code not in _SQLITE_PASSES
    state = getattr(cause, "sqlstate", None)
    return state is not None and not state.startswith(_PASSES)


def was_rolled_back(error: sa.exc.SQLAlchemyError) -> bool:
    """Returns whether a COMMIT that failed with this error has certainly changed nothing.

    That is so when the server itself rejected the COMMIT with severity ERROR. After a FATAL error, or without
    any message from the server, the changes may be committed.
    """
    cause = getattr(error, "orig", None)
    if isinstance(cause, sqlite3.Error):
        return _sqlite_code(cause) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY)
    return isinstance(cause, psycopg.Error) and cause.diag.severity_nonlocalized == "ERROR"


def is_busy(error: sa.exc.SQLAlchemyError) -> bool:
    """Returns whether another process holds the write lock of the SQLite file."""
    cause = getattr(error, "orig", None)
    return isinstance(cause, sqlite3.Error) and _sqlite_code(cause) == sqlite3.SQLITE_BUSY


def _sqlite_refuses(error: sqlite3.Error) -> bool:
    code = _sqlite_code(error)
    if code is None:
        return isinstance(error, sqlite3.OperationalError)
    if code == sqlite3.SQLITE_ERROR:
        # SQLite has one code for a missing table and for invalid SQL.
        return any(words in str(error) for words in _SQLITE_SCHEMA)
    return code in _SQLITE_CODES


def _sqlite_code(error: sqlite3.Error) -> int | None:
    """Returns the primary result code, which is the low byte."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
