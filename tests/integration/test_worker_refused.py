"""A Postgres that refuses statements is a passing error for the worker. The log names its cause."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.engine import Engine

from tests.support.log_lines import LogLines
from tests.support.records import new_job, stored
from tests.support.sandboxes import limits_with
from tests.support.stack import eventually
from videoqueue.api.extension import services_of
from videoqueue.app import create_app
from videoqueue.jobs.tables import Base
from videoqueue.maintenance.sweeper import Sweeper
from videoqueue.pipeline_options import PipelineOptions
from videoqueue.sandbox.protocol import Report, Seen, Task
from videoqueue.sandbox.sandbox import Sandbox
from videoqueue.services import Services
from videoqueue.settings import load_settings
from videoqueue.worker.run_job import JobRunner

KEY = "inputs/" + "a" * 32 + ".mp4"


class Script(Sandbox):
    """Plays the child process: does what it is told, then reports a frame."""

    def __init__(self, before: Callable[[], None]) -> None:
        super().__init__(PipelineOptions(), limits_with())
        self._before = before

    def run(self, task: Task, should_stop: Callable[[], bool], owner: str = "") -> Generator[Report]:
        self._before()
        yield Seen({"frame_index": 0, "result": {"timestamp": 0.0}})


class Server:
    """The owner's hand on the database: what an operator, a failover or a hosting platform does to it."""

    def __init__(self, admin: Engine, name: str) -> None:
        self._admin = admin
        self.name = name

    def execute(self, *statements: str) -> None:
        with self._admin.connect() as connection:
            for statement in statements:
                connection.execute(sa.text(statement))

    def read_only(self, value: str) -> None:
        """Takes effect for new sessions: those that are open are ended, as in a failover."""
        self.execute(
            f"ALTER DATABASE {self.name} SET default_transaction_read_only = {value}",
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self.name}'"
            " AND pid <> pg_backend_pid()",
        )


@pytest.fixture
def server(postgres_server: str) -> Iterator[Server]:
    url = sa.make_url(postgres_server).set(drivername="postgresql+psycopg")
    name = f"test_{uuid.uuid4().hex}"
    first = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with first.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
        connection.execute(sa.text(f"CREATE ROLE {name} LOGIN"))
    admin = sa.create_engine(url.set(database=name), isolation_level="AUTOCOMMIT")
    server = Server(admin, name)
    Base.metadata.create_all(admin)
    server.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}")
    yield server
    admin.dispose()
    with first.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
        connection.execute(sa.text(f"DROP ROLE {name}"))
    first.dispose()


@pytest.fixture
def app(tmp_path: Path, redis_url: str, postgres_server: str, server: Server) -> Iterator[Flask]:
    url = sa.make_url(postgres_server)
    url = url.set(drivername="postgresql+psycopg", database=server.name, username=server.name)
    settings = {
        "VIDEOQUEUE_DATA_DIR": str(tmp_path),
        "VIDEOQUEUE_STORAGE_URL": f"file://{tmp_path}/objects",
        "VIDEOQUEUE_RENEW_SECONDS": "0.05",
        "VIDEOQUEUE_SWEEP_SECONDS": "0.05",
        "REDIS_URL": redis_url,
        "DATABASE_URL": url.render_as_string(),
    }
    app = create_app(load_settings(settings))
    yield app
    services_of(app).store.engine.dispose()


@pytest.fixture
def services(app: Flask) -> Services:
    return services_of(app)


@pytest.fixture
def job_id(services: Services) -> uuid.UUID:
    with services.storage.open_writer(KEY) as writer:
        writer.write(b"a video")
        writer.commit()
    return services.store.create(new_job(b"a video", input_key=KEY))[0]


def run(services: Services, folder: Path, job_id: uuid.UUID, before: Callable[[], None]) -> float | None:
    runner = JobRunner(services, Script(before), lambda: folder, "test", threading.Event())
    return runner.run(job_id)


@pytest.mark.parametrize(
    ("statement", "cause"),
    [
        (
            "REVOKE INSERT ON result_chunk FROM {role}",
            "SQLSTATE 42501 (InsufficientPrivilege): permission denied for table result_chunk",
        ),
        (
            "ALTER TABLE result_chunk RENAME TO elsewhere",
            'SQLSTATE 42P01 (UndefinedTable): relation "result_chunk" does not exist',
        ),
        (
            "ALTER TABLE result_chunk RENAME first_time TO elsewhere",
            'SQLSTATE 42703 (UndefinedColumn): column "first_time" of relation "result_chunk" does not exist',
        ),
    ],
    ids=["right", "table", "column"],
)
def test_results_that_are_refused_cost_no_try_and_the_job_waits(
    services: Services,
    server: Server,
    tmp_path: Path,
    job_id: uuid.UUID,
    log_lines: LogLines,
    statement: str,
    cause: str,
) -> None:
    """The interruption itself is recorded: without a pause the same work would be done again at once."""
    before = lambda: server.execute(statement.format(role=server.name))  # noqa: E731
    assert run(services, tmp_path, job_id, before) == services.settings.retry_seconds
    job = stored(services.store, job_id)
    assert (job.status, job.failures, job.crashes) == ("pending", 0, 0)
    assert job.error_message is not None
    assert "database cannot be used" in job.error_message
    (line,) = log_lines.having("Job interrupted.")
    assert line.startswith(f"[job_id={job_id} attempt=1] ")
    assert line.endswith(f"cause={cause}")
    assert "bug" not in str(log_lines.written)


def test_a_database_that_became_read_only_costs_the_job_no_try(
    services: Services,
    server: Server,
    tmp_path: Path,
    job_id: uuid.UUID,
    log_lines: LogLines,
) -> None:
    sweeper = Sweeper(services.store, services.broker, services.settings, "test:1")

    def logged(text: str) -> bool:
        return any(
            line.startswith(text) and "cause=SQLSTATE 25006 (ReadOnlySqlTransaction)" in line
            for line in log_lines.written
        )

    def become_read_only() -> None:
        server.read_only("on")
        sweeper.start()
        eventually(lambda: logged(f"[job_id={job_id} attempt=1] Lease not renewed."), "the lease is refused")

    def make_writable_later() -> None:
        eventually(lambda: logged(f"[job_id={job_id} attempt=1] Outcome not recorded yet."), "it is refused")
        eventually(lambda: logged("A pass was cut short. thread_name=sweeper"), "sweeping is refused")
        server.read_only("off")

    operator = threading.Thread(target=make_writable_later)
    operator.start()
    assert run(services, tmp_path, job_id, become_read_only) == 0.0
    operator.join()
    sweeper.stop()
    job = stored(services.store, job_id)
    assert (job.status, job.failures, job.crashes) == ("pending", 0, 0)
    assert "bug" not in str(log_lines.written)
    assert run(services, tmp_path, job_id, lambda: None) is None
    assert stored(services.store, job_id).status == "completed"


def test_a_job_that_cannot_be_claimed_stays_pending(
    services: Services,
    server: Server,
    tmp_path: Path,
    job_id: uuid.UUID,
    log_lines: LogLines,
) -> None:
    server.execute(f"REVOKE UPDATE ON job FROM {server.name}")
    assert run(services, tmp_path, job_id, lambda: None) == services.settings.retry_seconds
    assert stored(services.store, job_id).status == "pending"
    (line,) = log_lines.written
    assert line.startswith(f"[job_id={job_id}] Job not claimed. reason=")
    assert line.endswith("cause=SQLSTATE 42501 (InsufficientPrivilege): permission denied for table job")
