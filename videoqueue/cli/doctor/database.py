"""Checks the database, its limit of connections, its schema, and the workers that report to it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from videoqueue.cli.doctor.findings import Examination, Finding, failed, not_checked, ok, warning
from videoqueue.cli.doctor.postgres import check_postgres, unreachable
from videoqueue.cli.doctor.schema import check_schema
from videoqueue.cli.wording import counted
from videoqueue.errors import DatabaseUnavailableError

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

#: Part of the time limit after which a call to the database ends, so that its error can be reported.
SHARE: Final = 0.8
NAMES: Final = ("database", "schema", "workers")
_TROUBLE: Final = "docs/operations.md#troubleshooting"


def check_database(examination: Examination) -> Iterator[Finding]:
    """Yields what is wrong with the database, the schema and the workers."""
    from videoqueue.jobs.deadline import set_deadline
    from videoqueue.services import build_engine

    if found := obstacle(examination):
        yield found
        yield from (not_checked(name, "the database was not checked") for name in NAMES[1:])
        return
    set_deadline(examination.seconds * SHARE)
    engine = build_engine(examination.settings, pool_size=1)
    try:
        yield from _findings(examination, engine)
    finally:
        engine.dispose()


def obstacle(examination: Examination) -> Finding | None:
    """Returns why the database must not be opened; None if it may."""
    if "DATABASE_URL" in examination.invalid:
        return not_checked("database", "DATABASE_URL is invalid", page="docs/settings.md")
    file = examination.settings.sqlite_file
    if file is None:
        return None
    try:
        owner = file.stat().st_uid
    except FileNotFoundError:
        return warning(
            "database",
            f"There is no database yet ({file}).",
            "`videoqueue up` makes it at its first start, `flask --app videoqueue.app db upgrade` without "
            "`up`. If there is one already, set DATABASE_URL or VIDEOQUEUE_DATA_DIR as for the service.",
            "docs/deploying.md#one-machine-with-systemd-and-nginx",
        )
    except OSError as error:
        return failed(
            "database",
            f"The database file {file} cannot be examined ({examination.reported(error)}).",
            "Run this command as the user of the service, or correct VIDEOQUEUE_DATA_DIR or DATABASE_URL.",
            "docs/deploying.md#isolation-from-other-users-and-processes",
        )
    if owner != os.geteuid():  # SQLite would make files beside it that the service cannot open
        return not_checked(
            "database",
            f"{file} belongs to another user",
            f"Run this command as the user of the service, whose id is {owner}.",
            "docs/deploying.md#isolation-from-other-users-and-processes",
        )
    return None


def _findings(examination: Examination, engine: Engine) -> Iterator[Finding]:
    from videoqueue.jobs.database import reading

    try:
        with reading(engine) as connection:
            if engine.dialect.name == "postgresql":
                name, found = check_postgres(connection, examination)
            else:
                name, found = _sqlite_name(), []
            schema, has_tables = check_schema(connection)
    except DatabaseUnavailableError as error:
        yield unreachable(examination.reported(error), engine.dialect.name)
        yield from (not_checked(name, "the database cannot be used") for name in NAMES[1:])
        return
    yield from found
    if not any(finding.check == "database" for finding in found):
        yield _writable(examination, engine, name, has_tables=has_tables)
    yield schema
    yield _workers(examination, engine)


def _sqlite_name() -> str:
    import sqlite3

    return f"SQLite {sqlite3.sqlite_version}"


def _writable(examination: Examination, engine: Engine, name: str, *, has_tables: bool) -> Finding:
    if not has_tables:
        return ok("database", f"{name} responds. Writing is checked when the schema is that of this release.")
    try:
        _write_and_roll_back(engine)
    except DatabaseUnavailableError as error:
        return failed(
            "database",
            f"{name} responds, but refuses to store a job ({examination.reported(error)}).",
            "Grant the privilege, free space, or make the database writable.",
            _TROUBLE,
        )
    return ok("database", f"{name} responds and can be written.")


def _write_and_roll_back(engine: Engine) -> None:
    """Tries every statement of the service without a row, then stores a row and takes it back.

    Raises:
        DatabaseUnavailableError: the database refuses.
    """
    import sqlalchemy as sa

    from videoqueue.jobs.database import now, reading
    from videoqueue.jobs.database_errors import is_busy
    from videoqueue.jobs.queries import JobQueries
    from videoqueue.jobs.tables import HEARTBEAT

    JobQueries(engine).require_writable()
    with reading(engine) as connection:
        time = now(connection)
        row = {"worker": f"doctor:{uuid.uuid4().hex}", "threads": 1, "started_at": time, "seen_at": time}
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA busy_timeout = 0")
        try:
            connection.execute(sa.insert(HEARTBEAT).values(row))
        except sa.exc.OperationalError as error:
            # Another process is writing, which also shows that the database can be written.
            if not is_busy(error):
                raise
        connection.rollback()


def _workers(examination: Examination, engine: Engine) -> Finding:
    from videoqueue.jobs.workers import count_alive

    silence = examination.settings.worker_silence_seconds
    try:
        alive = count_alive(engine, silence)
    except DatabaseUnavailableError:
        return not_checked("workers", "the table of the workers cannot be read")
    if alive:
        return ok("workers", f"{counted(alive, 'worker')} reported within {silence:g} seconds.")
    return warning(
        "workers",
        f"No worker has reported within {silence:g} seconds: jobs are accepted, and wait.",
        "Start workers (the Procfile's `worker`, or `videoqueue up`). If one runs, read its log.",
        _TROUBLE,
    )
