"""The cause of an error, as the log names it; the errors come from real servers and the real system."""

from __future__ import annotations

import http.server
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import redis
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tests.support.stack import free_port
from videoqueue.broker import announce, build_broker
from videoqueue.causes import MAX_CHARACTERS, cause_fields, cause_of, one_line
from videoqueue.errors import (
    DatabaseUnavailableError,
    QueueUnavailableError,
    SandboxCrashedError,
    StorageFullError,
    StorageUnavailableError,
)
from videoqueue.jobs.database import writing
from videoqueue.jobs.database_errors import was_refused
from videoqueue.storage import open_storage

PASSWORD = "s3cr3t/w@rd"


def raised(kind: type[Exception], original: BaseException) -> Exception:
    try:
        raise kind("For the user.") from original
    except kind as error:
        return error


def of_database(engine: Engine, statement: str) -> DatabaseUnavailableError:
    with pytest.raises(DatabaseUnavailableError) as caught, writing(engine) as connection:
        connection.execute(sa.text(statement))
    return caught.value


@contextmanager
def s3_that_says(status: int, code: str, message: str) -> Iterator[str]:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_DELETE(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    return monkeypatch


@pytest.mark.parametrize(
    ("status", "code", "operation", "message"),
    [
        # Without the right to list, a missing object is 403 too: the store asks the list which of both it is.
        (403, "AccessDenied", "ListObjectsV2", "Access Denied"),
        (503, "SlowDown", "GetObject", "Please reduce your request rate."),
    ],
)
def test_s3_is_named_by_the_code_it_answered(
    tmp_path: Path, credentials: pytest.MonkeyPatch, status: int, code: str, operation: str, message: str
) -> None:
    with s3_that_says(status, code, message) as url:
        credentials.setenv("AWS_ENDPOINT_URL_S3", url)
        storage = open_storage("s3://bucket/prefix", tmp_path)
        with pytest.raises(StorageUnavailableError) as caught:
            storage.delete("inputs/x.mp4")
    assert cause_of(caught.value) == f"{code} (DeleteObject, HTTP {status}): {message}"


def test_s3_that_is_not_there_is_named_by_address_and_errno(
    tmp_path: Path, credentials: pytest.MonkeyPatch
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    credentials.setenv("AWS_ENDPOINT_URL_S3", url)
    with pytest.raises(StorageUnavailableError) as caught:
        open_storage("s3://bucket/prefix", tmp_path).download(
            "inputs/x.mp4", tmp_path / "x.mp4", lambda: None
        )
    cause = cause_of(caught.value)
    assert cause.startswith(f'EndpointConnectionError: Could not connect to the endpoint URL: "{url}/')
    assert cause.endswith("[ECONNREFUSED]")


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[Engine]:
    url = sa.make_url(postgres_server).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url)
    yield engine
    engine.dispose()


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        (
            "SET TRANSACTION READ ONLY; CREATE TABLE t (x int)",
            "SQLSTATE 25006 (ReadOnlySqlTransaction): cannot execute CREATE TABLE in a read-only transaction",
        ),
        (
            "CREATE ROLE nobody_at_all; SET LOCAL ROLE nobody_at_all; SELECT * FROM pg_authid",
            "SQLSTATE 42501 (InsufficientPrivilege): permission denied for table pg_authid",
        ),
        (
            "SELECT * FROM not_there",
            'SQLSTATE 42P01 (UndefinedTable): relation "not_there" does not exist',
        ),
        (
            "SELECT nothing FROM pg_class",
            'SQLSTATE 42703 (UndefinedColumn): column "nothing" does not exist',
        ),
    ],
)
def test_postgres_that_refuses_is_named_by_sqlstate(postgres: Engine, statement: str, says: str) -> None:
    error = of_database(postgres, statement)
    assert cause_of(error) == says
    assert was_refused(error)


def test_postgres_without_a_connection_left_is_named_and_has_refused_nothing(postgres: Engine) -> None:
    name = "role_without_connections"
    with postgres.begin() as connection:
        connection.execute(sa.text(f"CREATE ROLE {name} LOGIN CONNECTION LIMIT 0"))
    other = sa.create_engine(postgres.url.set(username=name))
    error = of_database(other, "SELECT 1")
    with postgres.begin() as connection:
        connection.execute(sa.text(f"DROP ROLE {name}"))
    assert f'FATAL: too many connections for role "{name}"' in cause_of(error)
    assert not was_refused(error)


def test_postgres_that_is_not_there_shows_no_password() -> None:
    url = sa.URL.create("postgresql+psycopg", "user", PASSWORD, "127.0.0.1", free_port(), "jobs")
    error = of_database(sa.create_engine(url), "SELECT 1")
    assert cause_of(error).startswith("OperationalError: connection failed: ")
    assert "Connection refused" in cause_of(error)
    assert PASSWORD not in cause_of(error)
    assert not was_refused(error)


def test_a_lock_that_is_not_had_is_no_refusal(postgres: Engine) -> None:
    with postgres.begin() as holder:
        holder.execute(sa.text("SELECT pg_advisory_xact_lock(4711)"))
        error = of_database(postgres, "SET LOCAL lock_timeout = '1ms'; SELECT pg_advisory_xact_lock(4711)")
    assert cause_of(error).startswith("SQLSTATE 55P03 (LockNotAvailable): ")
    assert not was_refused(error)


@pytest.mark.parametrize(
    ("pragma", "says"),
    [
        ("max_page_count = 1", "SQLITE_FULL: database or disk is full"),
        ("query_only = ON", "SQLITE_READONLY: attempt to write a readonly database"),
    ],
)
def test_sqlite_that_refuses_is_named(tmp_path: Path, pragma: str, says: str) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'x.db'}", poolclass=sa.StaticPool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE first (x)"))
        connection.exec_driver_sql(f"PRAGMA {pragma}")
    error = of_database(engine, "CREATE TABLE second (x)")
    engine.dispose()
    assert cause_of(error) == says
    assert was_refused(error)


def test_sqlite_that_is_busy_has_refused_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 0})
    holder = sqlite3.connect(path)
    holder.execute("BEGIN EXCLUSIVE")
    error = of_database(engine, "CREATE TABLE t (x)")
    holder.close()
    engine.dispose()
    assert cause_of(error) == "SQLITE_BUSY: database is locked"
    assert not was_refused(error)


def test_a_statement_is_not_repeated_with_its_values(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'x.db'}")
    with pytest.raises(UnicodeEncodeError) as caught, engine.begin() as connection:
        connection.execute(sa.text("SELECT :value"), {"value": "\ud800"})
    engine.dispose()
    assert cause_of(caught.value).startswith("UnicodeEncodeError: 'utf-8' codec can't encode")


def test_a_queue_that_is_not_there_is_named_by_errno() -> None:
    with pytest.raises(QueueUnavailableError) as caught:
        announce(build_broker(f"redis://:hidden@127.0.0.1:{free_port()}"), uuid.uuid4())
    assert "ConnectionError: Error 111 connecting to 127.0.0.1" in cause_of(caught.value)
    assert "Connection refused" in cause_of(caught.value)
    assert "hidden" not in cause_of(caught.value)


def test_a_queue_that_refuses_is_named_by_its_words(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client, pytest.raises(redis.ResponseError) as caught:
        client.execute_command("NONSENSE")
    error = raised(QueueUnavailableError, caught.value)
    assert cause_of(error).startswith("ResponseError: unknown command 'NONSENSE'")


def test_a_full_disk_is_named_by_errno() -> None:
    with (
        pytest.raises(OSError, match="No space") as caught,
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"x")
    within = raised(StorageFullError, caught.value)
    assert cause_of(raised(StorageFullError, within)) == "ENOSPC: No space left on device"
    assert cause_fields(within) == {
        "reason": "For the user.",
        "cause": "ENOSPC: No space left on device",
    }


def test_an_error_of_ours_alone_has_no_cause() -> None:
    assert cause_of(SandboxCrashedError("It died.")) == ""
    assert cause_fields(SandboxCrashedError("It\ndied.")) == {"reason": "It died."}


def test_a_cause_that_the_reason_repeats_is_named_once() -> None:
    error = QueueUnavailableError("Redis cannot be reached (Error 111 connecting to 127.0.0.1:1).")
    error.__cause__ = redis.ConnectionError("Error 111 connecting to 127.0.0.1:1.")
    assert cause_fields(error) == {"reason": str(error)}


def test_an_error_of_others_is_its_own_cause() -> None:
    assert cause_fields(ValueError("no\nmatter")) == {"reason": "ValueError: no"}
    assert cause_fields(KeyError()) == {"reason": "KeyError"}


def test_what_was_hidden_on_purpose_is_not_named() -> None:
    error = StorageUnavailableError("For the user.")
    error.__context__ = OSError(5, "Input/output error")
    assert cause_of(error) == "EIO: Input/output error"
    error.__suppress_context__ = True
    assert cause_of(error) == ""


def test_a_circle_of_errors_ends() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert cause_of(first) == "ValueError: first"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"postgresql://user:{PASSWORD}@host/db is away", "postgresql://***@host/db is away"),
        ("redis://:a'b(c@host", "redis://***@host"),
        ('could not translate host name "w@rd@host"', 'could not translate host name "***@host"'),
        ("host=h password=abc user=u", "host=h password=*** user=u"),
        ("password='a b' port=1", "password=*** port=1"),
        ("GET /x?X-Amz-Signature=abc&X-Amz-Expires=9", "GET /x?X-Amz-Signature=***&X-Amz-Expires=9"),
        ("AWS_SECRET_ACCESS_KEY=abc", "AWS_SECRET_ACCESS_KEY=***"),
        ("one\ntwo\r\n\x1b[31mred \u2028 end\x00", "one two [31mred end"),
        ("x" * 600, "x" * (MAX_CHARACTERS - 3) + "..."),
    ],
)
def test_a_line_shows_no_password_and_is_one_line(text: str, shown: str) -> None:
    assert one_line(text) == shown


def test_a_driver_error_without_a_message_is_named_by_its_type() -> None:
    assert cause_of(raised(DatabaseUnavailableError, psycopg.OperationalError())) == "OperationalError"
