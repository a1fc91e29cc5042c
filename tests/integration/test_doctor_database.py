"""What `videoqueue doctor` finds in a real database that is broken on purpose."""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support.examined import finding, findings, migrate
from tests.support.stack import ROOT, free_port
from videoqueue.cli.doctor.findings import Finding

Environ = dict[str, str]
REVISIONS = sorted(path.name[:4] for path in (ROOT / "migrations" / "versions").glob("[0-9]*.py"))
READY = {"database": "ok", "connections": "ok", "schema": "ok", "workers": "warning"}


class Server:
    """A database of a role without rights of its own, with the tables of this release."""

    def __init__(self, owner: sa.Engine, environ: Environ, role: str) -> None:
        self.environ = environ
        self.role = role
        self._owner = owner

    def spoil(self, *statements: str) -> None:
        with self._owner.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def finding(self, name: str, **changes: str) -> Finding:
        return finding(name, self.environ | changes)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, postgres_server: str) -> Iterator[Server]:
    name = f"doctor_{uuid.uuid4().hex}"
    folder = tmp_path_factory.mktemp("doctor")
    admin = sa.create_engine(
        postgres_server.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN")
        connection.exec_driver_sql(f"CREATE DATABASE {name} OWNER {name}")
    url = admin.url.set(database=name)
    environ = {
        "DATABASE_URL": url.set(username=name).render_as_string(hide_password=False),
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "VIDEOQUEUE_STORAGE_URL": f"file://{folder}/objects",
        "VIDEOQUEUE_DATA_DIR": str(folder / "data"),
    }
    environ["DATABASE_URL"] = environ["DATABASE_URL"].replace("postgresql+psycopg:", "postgresql:")
    migrate(environ)
    owner = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    yield Server(owner, environ, name)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
        connection.exec_driver_sql(f"DROP ROLE {name}")
    admin.dispose()


def test_a_postgres_in_order(server: Server) -> None:
    found = findings("database", server.environ)
    assert {one.check: one.status for one in found} == READY
    assert found[-3].check == "database"
    assert "responds and can be written" in found[-3].message


def test_a_worker_that_lives_is_counted_and_the_trial_leaves_no_row(server: Server) -> None:
    row = "INSERT INTO worker_heartbeat (worker, started_at, seen_at, threads) VALUES ('host:1', {0}, {0}, 1)"
    clock = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    server.spoil(row.format(clock))
    assert server.finding("workers").message.startswith("1 worker reported")
    server.spoil("UPDATE worker_heartbeat SET seen_at = 0")
    assert server.finding("workers").status == "warning"
    server.spoil("DO $$ BEGIN ASSERT (SELECT count(*) FROM worker_heartbeat) = 1; END $$")
    server.spoil("DELETE FROM worker_heartbeat")


@pytest.mark.parametrize(
    ("spoil", "mend", "says", "remedy"),
    [
        (
            "ALTER ROLE {role} SET default_transaction_read_only = on",
            "ALTER ROLE {role} RESET default_transaction_read_only",
            "is read-only",
            "Name the primary",
        ),
        (
            "REVOKE INSERT ON job FROM {role}",
            "GRANT INSERT ON job TO {role}",
            "SQLSTATE 42501",
            "Grant the privilege",
        ),
        (
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE 'over quota'; END $$; CREATE TRIGGER refuse BEFORE INSERT ON worker_heartbeat "
            "FOR EACH ROW EXECUTE FUNCTION refuse()",
            "DROP FUNCTION refuse CASCADE",
            "over quota",
            "Grant the privilege",
        ),
        (
            "ALTER ROLE {role} NOLOGIN",
            "ALTER ROLE {role} LOGIN",
            "is not permitted to log in",
            "Correct user and password",
        ),
        (
            "ALTER ROLE {role} CONNECTION LIMIT 0",
            "ALTER ROLE {role} CONNECTION LIMIT -1",
            "too many connections",
            "VIDEOQUEUE_DATABASE_CONNECTIONS",
        ),
    ],
    ids=["read-only", "no-right", "trigger", "no-login", "no-connection"],
)
def test_a_postgres_that_refuses(server: Server, spoil: str, mend: str, says: str, remedy: str) -> None:
    server.spoil(spoil.replace("{role}", server.role))
    try:
        found = server.finding("database")
    finally:
        server.spoil(mend.replace("{role}", server.role))
    assert found.status == "failed"
    assert says in found.message
    assert remedy in found.remedy
    assert server.finding("database").status == "ok"


def test_pools_that_need_more_connections_than_the_server_allows(server: Server) -> None:
    server.spoil(f"ALTER ROLE {server.role} CONNECTION LIMIT 8")
    try:
        found = server.finding("connections")
        fewer = server.finding("connections", VIDEOQUEUE_DATABASE_CONNECTIONS="3")
    finally:
        server.spoil(f"ALTER ROLE {server.role} CONNECTION LIMIT -1")
    assert (found.status, fewer.status) == ("warning", "ok")
    assert "allows 8 connections, but 9 may be used" in found.message


@pytest.mark.parametrize(
    ("revision", "status", "says"),
    [
        ("UPDATE alembic_version SET version_num = '0007'", "failed", f"{len(REVISIONS) - 7} migrations are"),
        ("UPDATE alembic_version SET version_num = 'later'", "warning", "newer than this release"),
        ("DELETE FROM alembic_version", "warning", "not made by the release command"),
    ],
    ids=["behind", "ahead", "unknown"],
)
def test_a_schema_of_another_release(server: Server, revision: str, status: str, says: str) -> None:
    server.spoil("CREATE TABLE kept AS SELECT * FROM alembic_version", revision)
    try:
        found = server.finding("schema")
    finally:
        server.spoil("DELETE FROM alembic_version", "INSERT INTO alembic_version SELECT * FROM kept")
        server.spoil("DROP TABLE kept")
    assert found.status == status
    assert says in found.message
    assert "db upgrade" in found.remedy or status == "warning"


def test_a_server_that_is_away_and_a_database_that_does_not_exist(server: Server) -> None:
    away = server.finding("database", DATABASE_URL=f"postgresql://u:sesame@127.0.0.1:{free_port()}/d")
    assert (away.status, away.remedy[:16]) == ("failed", "Start the server")
    url = server.environ["DATABASE_URL"]
    missing = server.finding("database", DATABASE_URL=url.replace(f"/{server.role}?", "/nothing_here?"))
    assert "does not exist" in missing.message
    assert missing.remedy.startswith("Create the database")


@pytest.fixture(scope="module")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sqlite")
    migrate({"VIDEOQUEUE_DATA_DIR": str(folder), "REDIS_URL": "redis://127.0.0.1:1/0"}, REVISIONS[-2])
    return folder / "videoqueue.db"


def sqlite(file: Path) -> Environ:
    return {"DATABASE_URL": f"sqlite:///{file}", "VIDEOQUEUE_DATA_DIR": str(file.parent)}


def test_an_sqlite_file_of_the_release_before(migrated_file: Path) -> None:
    found = {one.check: one for one in findings("database", sqlite(migrated_file))}
    assert found["database"].status == "ok"
    assert found["schema"].status == "failed"
    assert f"at revision {REVISIONS[-2]}" in found["schema"].message
    assert "1 migration is missing" in found["schema"].message
    assert "flask --app videoqueue.app db upgrade" in found["schema"].remedy


def test_an_sqlite_file_in_which_another_process_writes_can_be_written(migrated_file: Path) -> None:
    environ = sqlite(migrated_file)
    migrate(environ | {"REDIS_URL": "redis://127.0.0.1:1/0"})
    with closing(sqlite3.connect(migrated_file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert finding("database", environ).message.endswith("responds and can be written.")


def no_file(file: Path) -> None:
    pass


def no_database(file: Path) -> None:
    file.write_bytes(b"not a database" * 1000)


def empty(file: Path) -> None:
    file.touch()


@pytest.mark.parametrize(
    ("make", "statuses"),
    [
        (no_file, {"database": "warning", "schema": "warning", "workers": "warning"}),
        (no_database, {"database": "failed", "schema": "warning", "workers": "warning"}),
        (empty, {"database": "ok", "schema": "failed", "workers": "warning"}),
    ],
    ids=["missing", "no-database", "empty"],
)
def test_an_sqlite_file_that_cannot_be_used(
    make: Callable[[Path], None], statuses: dict[str, str], tmp_path: Path
) -> None:
    make(tmp_path / "x.db")
    found = findings("database", sqlite(tmp_path / "x.db"))
    assert {one.check: one.status for one in found} == statuses
    assert (tmp_path / "x.db").exists() is (make is not no_file)


def test_an_sqlite_file_of_another_user_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite would make files beside it that the service could not open."""
    file = tmp_path / "x.db"
    file.touch()
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    found = finding("database", sqlite(file))
    assert "belongs to another user" in found.message
    assert [path.name for path in tmp_path.iterdir()] == ["x.db"]
