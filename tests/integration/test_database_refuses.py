"""A database that refuses statements is 503 and not ready. It leaves no video behind, and is no bug."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from sqlalchemy.engine import Engine
from sqlalchemy.pool import PoolProxiedConnection
from werkzeug.test import TestResponse

from tests.support.log_lines import LogLines
from tests.support.records import new_job
from tests.support.videos import make_video
from videoqueue.api.extension import services_of
from videoqueue.app import create_app
from videoqueue.errors import DatabaseUnavailableError, StorageUnavailableError
from videoqueue.jobs.database import reading, writing
from videoqueue.jobs.database_errors import REFUSES
from videoqueue.jobs.tables import JOB, Base
from videoqueue.services import Services
from videoqueue.settings import load_settings
from videoqueue.storage.filesystem import FolderStorage

#: Some of each kind: connection, login, transaction, rights, schema, resources, locks, operator, system.
STATES = [
    *("08006", "08P01", "25006", "25P03", "28000", "28P01", "3D000", "3F000", "40001", "40P01"),
    *("42501", "42703", "42704", "42883", "42P01", "53000", "53100", "53200", "53300", "53400"),
    *("54000", "55006", "55P03", "57014", "57P01", "57P02", "57P03", "57P04", "58000", "58030"),
    *("P0001", "XX000", "XX001", "XX002"),
]
BUGS = ["22001", "22P02", "23502", "23514", "42601", "0A000"]


class Stack:
    """An app whose database another client can spoil."""

    def __init__(self, folder: Path, redis_url: str, url: sa.URL, owner: sa.URL) -> None:
        self.folder = folder / "objects"
        environ = {
            "DATABASE_URL": url.render_as_string(hide_password=False),
            "REDIS_URL": redis_url,
            "VIDEOQUEUE_DATA_DIR": str(folder / "data"),
            "VIDEOQUEUE_STORAGE_URL": f"file://{self.folder}",
            # The machine may be busy: what is tested is what the database says, not how quickly.
            "VIDEOQUEUE_READY_SECONDS": "30",
        }
        self.owner = sa.create_engine(owner)
        Base.metadata.create_all(self.owner)
        app = create_app(load_settings(environ))
        self.client: FlaskClient = app.test_client()
        self.services: Services = services_of(app)
        self.video = make_video(folder / "v.mp4").read_bytes()

    @property
    def engine(self) -> Engine:
        return self.services.store.engine

    @property
    def role(self) -> str:
        """The app's user in Postgres."""
        name = self.engine.url.username
        assert name is not None
        return name

    def spoil(self, *statements: str) -> None:
        """Takes effect in the app's next connections too."""
        self.engine.dispose()
        with self.owner.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def submit(self) -> TestResponse:
        return self.client.post("/video/submit", data=self.video, content_type="video/mp4")

    def files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]

    def close(self) -> None:
        self.engine.dispose()
        self.owner.dispose()


@pytest.fixture
def role(postgres_server: str) -> Iterator[str]:
    """A role of Postgres without rights of its own."""
    name = f"app_{uuid.uuid4().hex}"
    url = sa.make_url(postgres_server).set(drivername="postgresql+psycopg")
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN")
    yield name
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP ROLE {name}")
    admin.dispose()


@contextmanager
def on_postgres(role: str, database_url: str, folder: Path, redis_url: str) -> Iterator[Stack]:
    owner = sa.make_url(database_url)
    stack = Stack(folder, redis_url, owner.set(username=role), owner)
    stack.spoil(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
    yield stack
    stack.spoil(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}")
    stack.close()


@pytest.fixture
def stack(
    request: pytest.FixtureRequest, database_url: str, tmp_path: Path, redis_url: str
) -> Iterator[Stack]:
    if database_url.startswith("postgresql"):
        with on_postgres(request.getfixturevalue("role"), database_url, tmp_path, redis_url) as stack:
            yield stack
    else:
        url = sa.make_url(database_url)
        stack = Stack(tmp_path, redis_url, url, url)
        yield stack
        stack.close()


postgres = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def refused(answer: TestResponse) -> None:
    assert (answer.status_code, answer.get_json()["code"]) == (503, "database_unavailable")
    assert answer.headers["Retry-After"] == "5"


def accepts_no_job(stack: Stack) -> None:
    refused(stack.submit())
    refused(stack.client.get("/readyz"))
    assert stack.files() == []


def is_well(stack: Stack) -> None:
    assert stack.submit().status_code == 202
    assert stack.client.get("/readyz").status_code == 200
    assert len(stack.files()) == 1


def test_a_missing_column(stack: Stack) -> None:
    stack.spoil("ALTER TABLE job RENAME COLUMN announcements TO later")
    accepts_no_job(stack)
    stack.spoil("ALTER TABLE job RENAME COLUMN later TO announcements")
    is_well(stack)


@pytest.mark.parametrize("table", Base.metadata.tables)
def test_a_missing_table(stack: Stack, table: str) -> None:
    stack.spoil(f"ALTER TABLE {table} RENAME TO other")
    refused(stack.client.get("/readyz"))
    if table == "job":
        accepts_no_job(stack)
        refused(stack.client.get(f"/video/status/{uuid.uuid4()}"))
        refused(stack.client.get(f"/video/results/{uuid.uuid4()}"))
    stack.spoil(f"ALTER TABLE other RENAME TO {table}")
    is_well(stack)


@postgres
def test_a_read_only_postgres(stack: Stack) -> None:
    """As after a failover to a standby."""
    stack.spoil(f"ALTER ROLE {stack.role} SET default_transaction_read_only = on")
    accepts_no_job(stack)
    assert stack.client.get(f"/video/status/{uuid.uuid4()}").status_code == 404
    stack.spoil(f"ALTER ROLE {stack.role} RESET default_transaction_read_only")
    is_well(stack)


@postgres
def test_connections_to_a_primary_that_became_a_standby_are_replaced(stack: Stack) -> None:
    """Such a server may keep them open. New connections reach the new primary."""
    is_well(stack)
    with ExitStack() as pool:
        for _ in range(stack.services.settings.database_connections):
            connection = pool.enter_context(stack.engine.connect())
            connection.exec_driver_sql("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
            connection.commit()
    answer = stack.submit()
    refused(answer)
    assert answer.get_json()["detail"] == REFUSES
    assert stack.submit().status_code == 202


@postgres
@pytest.mark.parametrize("right", ["INSERT", "SELECT"])
def test_a_revoked_right(stack: Stack, right: str) -> None:
    """Hosting platforms revoke INSERT from a database that has outgrown its plan."""
    stack.spoil(f"REVOKE {right} ON ALL TABLES IN SCHEMA public FROM {stack.role}")
    accepts_no_job(stack)
    stack.spoil(f"GRANT {right} ON ALL TABLES IN SCHEMA public TO {stack.role}")
    is_well(stack)


@postgres
@pytest.mark.parametrize(("right", "table"), [("UPDATE", "job"), ("INSERT", "result_chunk")])
def test_a_right_that_only_workers_need(stack: Stack, right: str, table: str) -> None:
    stack.spoil(f"REVOKE {right} ON {table} FROM {stack.role}")
    refused(stack.client.get("/readyz"))
    stack.spoil(f"GRANT {right} ON {table} TO {stack.role}")
    is_well(stack)


@postgres
def test_a_login_that_is_refused(stack: Stack) -> None:
    stack.spoil(f"ALTER ROLE {stack.role} NOLOGIN")
    accepts_no_job(stack)
    stack.spoil(f"ALTER ROLE {stack.role} LOGIN")
    is_well(stack)


@postgres
def test_connections_used_up(stack: Stack) -> None:
    stack.spoil(f"ALTER ROLE {stack.role} CONNECTION LIMIT 0")
    accepts_no_job(stack)
    stack.spoil(f"ALTER ROLE {stack.role} CONNECTION LIMIT -1")
    is_well(stack)


@sqlite
def test_a_read_only_sqlite(stack: Stack) -> None:
    with every_connection(stack.engine, "PRAGMA query_only = ON"):
        accepts_no_job(stack)
        assert stack.client.get(f"/video/status/{uuid.uuid4()}").status_code == 404
    is_well(stack)


@contextmanager
def every_connection(engine: Engine, statement: str) -> Iterator[None]:
    def run(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(statement).close()

    engine.dispose()
    sa.event.listen(engine, "connect", run)
    yield
    sa.event.remove(engine, "connect", run)
    engine.dispose()


@sqlite
def test_another_writer_does_not_make_sqlite_unready(stack: Stack) -> None:
    is_well(stack)
    with stack.owner.connect() as writer:
        driver = writer.connection.driver_connection
        assert driver is not None
        driver.execute("BEGIN IMMEDIATE")
        assert stack.client.get("/readyz").status_code == 200
        driver.execute("ROLLBACK")
    assert stack.submit().status_code == 202


@sqlite
def test_a_file_that_is_no_database(stack: Stack) -> None:
    stack.engine.dispose()
    stack.owner.dispose()
    path = Path(str(stack.engine.url.database))
    good = path.read_bytes()
    path.write_bytes(b"\xff" * len(good))
    accepts_no_job(stack)
    path.write_bytes(good)
    is_well(stack)


def trigger(state: str, *, at_commit: bool = False) -> tuple[str, ...]:
    """Has the server itself raise an error of this SQLSTATE at each new job."""
    timing = "CONSTRAINT TRIGGER no AFTER INSERT" if at_commit else "TRIGGER no BEFORE INSERT"
    deferred = "DEFERRABLE INITIALLY DEFERRED" if at_commit else ""
    return (
        "CREATE OR REPLACE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$",
        "DROP TRIGGER IF EXISTS no ON job",
        f"CREATE {timing} ON job {deferred} FOR EACH ROW EXECUTE FUNCTION no()",
    )


@postgres
def test_every_state_of_a_server_that_refuses_leaves_nothing_behind(stack: Stack) -> None:
    for at_commit in (False, True):
        for state in STATES:
            stack.spoil(*trigger(state, at_commit=at_commit))
            refused(stack.submit())
            assert stack.files() == [], state
    stack.spoil("DROP TRIGGER no ON job")
    assert stack.submit().status_code == 202


@postgres
def test_an_error_of_our_own_is_no_refusal_and_leaves_nothing_behind(stack: Stack) -> None:
    for state in BUGS:
        stack.spoil(*trigger(state))
        answer = stack.submit()
        assert (answer.status_code, answer.get_json()["code"]) == (500, "internal_error"), state
        assert stack.files() == [], state


@pytest.mark.parametrize("statement", ["SELEC 1", "SELECT 1 FROM", "SELECT max(1, 'x', ) FROM job"])
def test_wrong_sql_is_a_bug(engine: Engine, statement: str) -> None:
    for session in (reading, writing):
        with pytest.raises(sa.exc.DBAPIError), session(engine) as connection:
            connection.exec_driver_sql(statement)


def test_the_error_is_caused_by_the_servers_own(stack: Stack) -> None:
    stack.spoil("ALTER TABLE job RENAME TO other")
    with pytest.raises(DatabaseUnavailableError) as caught:
        stack.services.store.create(new_job())
    assert "job" in str(caught.value.__cause__)
    assert "INSERT" not in str(caught.value.__cause__).split("\n")[0]


@postgres
def test_the_log_names_the_servers_error_in_one_line(stack: Stack, log_lines: LogLines) -> None:
    stack.spoil("ALTER TABLE job RENAME TO other")
    refused(stack.submit())
    refused(stack.client.get("/readyz"))
    lines = [line.rpartition("] ")[2] for line in log_lines.having("SQLSTATE 42P01")]
    assert {line.split(".")[0] for line in lines} == {"A request failed", "A dependency cannot be used"}
    assert not any("\n" in line or "INSERT" in line for line in lines)


@postgres
def test_a_full_disk_makes_it_unready_until_a_write_succeeds(stack: Stack) -> None:
    stack.spoil(*trigger("53100"))
    accepts_no_job(stack)
    stack.spoil("DROP TRIGGER no ON job")
    assert stack.submit().status_code == 202
    assert stack.client.get("/readyz").status_code == 200


@postgres
def test_a_worker_gives_the_job_back_instead_of_blaming_a_bug(stack: Stack) -> None:
    store = stack.services.store
    claim = store.claim(store.create(new_job())[0], "worker")
    assert claim is not None
    stack.spoil(f"REVOKE INSERT, UPDATE ON ALL TABLES IN SCHEMA public FROM {stack.role}")
    for write in (
        lambda: store.renew(claim),
        lambda: store.checkpoint(claim, 0, b"1", [0], 0.1),
        lambda: store.release(claim, "failures", "why"),
        lambda: store.complete(claim, "etag"),
        lambda: store.fail(claim, "why"),
    ):
        with pytest.raises(DatabaseUnavailableError):
            write()


@pytest.fixture
def lost_at_commit(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """The next COMMIT of the app is sent, and nobody says what became of it."""

    def arm() -> None:
        dialect = stack.engine.dialect

        def commit(connection: PoolProxiedConnection) -> None:
            monkeypatch.undo()
            dialect.do_rollback(connection)
            raise dialect.loaded_dbapi.OperationalError("server closed the connection unexpectedly")

        monkeypatch.setattr(dialect, "do_commit", commit)

    return arm


def test_a_video_stays_whose_job_may_have_been_committed(
    stack: Stack, lost_at_commit: Callable[[], None]
) -> None:
    lost_at_commit()
    refused(stack.submit())
    assert len(stack.files()) == 1


def test_a_storage_that_cannot_delete_either_changes_nothing_for_the_client(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.spoil("ALTER TABLE job RENAME COLUMN announcements TO later")

    def refuse(*_: object) -> None:
        raise StorageUnavailableError("away")

    monkeypatch.setattr(FolderStorage, "delete", refuse)
    refused(stack.submit())
    assert len(stack.files()) == 1
    with stack.owner.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count(JOB.c.job_id))) == 0
