"""Checks what is particular to Postgres: version, read-only servers, and the limit of connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from videoqueue.cli.doctor.findings import Examination, Finding, failed, ok, warning

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Row

_CONNECTIONS: Final = "docs/deploying.md#connections-to-the-database"
_UNAVAILABLE: Final = "docs/deploying.md#unavailable-backends"
#: The oldest version that this release is tested with.
_OLDEST: Final = 15

_FACTS: Final = """
SELECT current_setting('server_version') AS version,
       current_setting('server_version_num')::int / 10000 AS major,
       pg_is_in_recovery() AS standby,
       current_setting('transaction_read_only') = 'on' AS read_only,
       current_setting('max_connections')::int
           - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true), '0')::int AS server_limit,
       (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user AND NOT rolsuper) AS role_limit,
       (SELECT datconnlimit FROM pg_database WHERE datname = current_database()) AS database_limit
"""

#: Parts of what libpq and the server report, in lower case, with what to do. SQLSTATE is not known before a
#: connection is open.
_REMEDIES: Final = (
    (
        ("too many", "remaining connection slots"),
        "Raise max_connections of the server, or lower VIDEOQUEUE_DATABASE_CONNECTIONS.",
    ),
    (("password", "authentication", "pg_hba", "role "), "Correct user and password in DATABASE_URL."),
    (("ssl", "certificate", "tls"), "Correct sslmode and sslrootcert in DATABASE_URL."),
    (("does not exist",), "Create the database, or correct its name in DATABASE_URL."),
    (("starting up", "shutting down", "recovery"), "Wait until the server has started."),
    (("read-write", "read-only"), "Name the host of the primary in DATABASE_URL."),
    (("resolve", "name or service"), "Correct the host in DATABASE_URL."),
)
_ELSE: Final = "Start the server, or correct host and port in DATABASE_URL."


def unreachable(reported: str, dialect: str) -> Finding:
    """Returns the finding that the database cannot be used at all.

    Args:
        reported: the error of the driver, without passwords.
        dialect: the kind of the database.
    """
    message = f"The database cannot be used ({reported})."
    if dialect == "sqlite":
        remedy = "Correct DATABASE_URL or VIDEOQUEUE_DATA_DIR, or restore the file from a backup."
        return failed("database", message, remedy, "docs/operations.md#troubleshooting")
    said = reported.lower()
    remedies = (remedy for words, remedy in _REMEDIES if any(word in said for word in words))
    return failed("database", message, next(remedies, _ELSE), _UNAVAILABLE)


def check_postgres(connection: Connection, examination: Examination) -> tuple[str, list[Finding]]:
    """Returns the name of the server with its version, and the findings about it.

    Without one for "database", the server takes writes as far as it says.
    """
    facts = connection.exec_driver_sql(_FACTS).one()
    name = f"PostgreSQL {facts.version.split()[0]}"
    found = []
    if facts.standby or facts.read_only:
        why = "a standby" if facts.standby else "read-only"
        found.append(
            failed(
                "database",
                f"{name} responds, but is {why}: no job can be stored.",
                "Name the primary in DATABASE_URL, or several hosts with "
                "target_session_attrs=read-write, or make the server writable "
                "(default_transaction_read_only).",
                _UNAVAILABLE,
            )
        )
    elif facts.major < _OLDEST:
        found.append(
            warning(
                "database",
                f"{name} is older than {_OLDEST}, the oldest version that this release is tested with.",
                "Update the server.",
                "docs/deploying.md#requirements",
            )
        )
    return name, [*found, _connections(facts, examination)]


def _connections(facts: Row[tuple[object, ...]], examination: Examination) -> Finding:
    settings = examination.settings
    limits = (facts.server_limit, facts.role_limit, facts.database_limit)
    limit = min(one for one in limits if one is not None and one >= 0)
    processes = settings.web_concurrency + settings.worker_processes
    needed = settings.database_connections * processes + 1
    sum_ = (
        f"VIDEOQUEUE_DATABASE_CONNECTIONS={settings.database_connections} for each of {processes} processes "
        "of this machine's settings, and one for the release command"
    )
    if needed <= limit:
        return ok("connections", f"The server allows {limit} connections, and {needed} may be used: {sum_}.")
    return warning(
        "connections",
        f"The server allows {limit} connections, but {needed} may be used: {sum_}.",
        "Lower VIDEOQUEUE_DATABASE_CONNECTIONS, WEB_CONCURRENCY or VIDEOQUEUE_WORKER_PROCESSES, or allow "
        "more. Behind PgBouncer its limits count instead.",
        _CONNECTIONS,
    )
