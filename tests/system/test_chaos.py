"""Half a minute of seeded chaos on each database; `scripts/chaos` runs longer. And the harness itself."""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from tests.chaos.backlog import drain_backlog
from tests.chaos.oracle import faults_of
from tests.chaos.run import run_chaos, short_folder
from tests.chaos.schedule import WEIGHTS, plan
from tests.chaos.settings import QUICK
from tests.chaos.transitions import TransitionLog
from tests.support.records import new_job
from tests.support.tcp_proxy import TcpProxy
from videoqueue.jobs.store import JobStore


@pytest.mark.parametrize(("database", "storage"), [("sqlite", "folder"), ("postgres", "s3")])
def test_nothing_is_lost_or_doubled_whatever_is_killed(database: str, storage: str) -> None:
    with short_folder() as folder:
        outcome = run_chaos(folder, database, seed=4, seconds=30, storage=storage, pause=1.0)
        print("\n".join(outcome.report))  # noqa: T201 - shown when the test fails
        assert outcome.broken == []
    assert outcome.jobs >= 3
    assert outcome.kills >= 5
    assert len(outcome.deleted) >= 3


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_backlog_drains_without_flooding_the_queue(database: str) -> None:
    with short_folder() as folder:
        broken, report = drain_backlog(folder, database, jobs=120, seconds=240, settings=QUICK)
    assert broken == [], report


def test_the_plan_is_a_pure_function_of_the_seed() -> None:
    assert plan(7, 600, "postgres") == plan(7, 600, "postgres") != plan(8, 600, "postgres")
    assert {fault.kind for fault in plan(7, 600, "postgres")} == set(WEIGHTS)
    assert not {fault.kind for fault in plan(7, 600, "sqlite")} & {"crash database", "eat commit"}


class Echo:
    """A server that sends back what it gets."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(1024):
                    connection.sendall(data)
            except OSError:
                return

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def proxy() -> Iterator[Any]:
    echo = Echo()
    with TcpProxy(("127.0.0.1", echo.port)) as proxy:
        yield proxy
    echo.close()


def _connect(proxy: TcpProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=10)


def _ask(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    return connection.recv(1024)


def test_the_proxy_forwards_and_cuts(proxy: TcpProxy) -> None:
    with _connect(proxy) as connection:
        assert _ask(connection, b"one") == b"one"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            connection.recv(1024)
    with proxy.down(), pytest.raises(ConnectionResetError), _connect(proxy) as connection:
        _ask(connection, b"two")
    with _connect(proxy) as connection:
        assert _ask(connection, b"three") == b"three"


def test_the_proxy_eats_the_reply_to_one_request(proxy: TcpProxy) -> None:
    proxy.eat_reply_to(b"COMMIT")
    with _connect(proxy) as connection:
        assert _ask(connection, b"BEGIN") == b"BEGIN"
        with pytest.raises(ConnectionResetError):
            _ask(connection, b"COMMIT")
    assert proxy.trapped.is_set()
    with _connect(proxy) as connection:
        assert _ask(connection, b"COMMIT") == b"COMMIT"


def test_the_proxy_eats_replies_for_a_while(proxy: TcpProxy) -> None:
    with _connect(proxy) as idle, _connect(proxy) as connection:
        assert _ask(idle, b"one") == b"one"
        with proxy.eating_replies():
            connection.sendall(b"two")
            proxy.await_eaten()
        with pytest.raises(ConnectionResetError):
            connection.recv(1024)
        assert _ask(idle, b"three") == b"three"


@pytest.fixture
def log(engine: sa.Engine) -> TransitionLog:
    log = TransitionLog(engine)
    log.install()
    return log


def failed_job(store: JobStore) -> uuid.UUID:
    claim = store.claim(store.create(new_job())[0], "worker")
    assert claim is not None
    store.fail(claim, "why")
    return claim.job_id


@pytest.mark.parametrize("change", ["UPDATE transition SET attempt = 7", "DELETE FROM transition"])
def test_the_transition_log_cannot_be_changed(
    engine: sa.Engine, log: TransitionLog, store: JobStore, change: str
) -> None:
    job_id = failed_job(store)
    before = log.transitions()
    assert [(t.job_id, t.before, t.after, t.attempt) for t in before] == [
        (job_id, None, "pending", 0),
        (job_id, "pending", "running", 1),
        (job_id, "running", "failed", 1),
    ]
    with pytest.raises(sa.exc.DatabaseError, match="append-only"), engine.begin() as connection:
        connection.execute(sa.text(change))
    assert log.transitions() == before


def test_a_later_write_to_an_ended_job_is_in_the_log(
    engine: sa.Engine, log: TransitionLog, store: JobStore
) -> None:
    failed_job(store)
    assert list(faults_of(log.transitions())) == []
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE job SET updated_at = updated_at + 1"))
    assert "2 terminal transitions" in list(faults_of(log.transitions()))
