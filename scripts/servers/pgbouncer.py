"""PgBouncer in transaction mode: many jobs, and another client of the same pool."""

from __future__ import annotations

import shlex
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg

from servers.clusters import PASSWORD, Cluster, binary, pooled
from servers.parts import Check, Options, program
from servers.queues import any_queue
from servers.service import Deployment, deployed

_DATABASE = "videoqueue"
_JOBS, _CLIENTS = 500, 8
_IN_URL = PASSWORD.replace("@", "%40").replace(":", "%3A").replace("/", "%2F")
#: What a session of the pool must keep; another client of the pool would be surprised otherwise.
_SETTINGS = (
    *("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout", "search_path"),
    *("default_transaction_read_only", "TimeZone", "client_encoding", "DateStyle"),
)


def checks(options: Options) -> Iterator[Check]:
    """Starts PostgreSQL, PgBouncer and the service with two workers, and yields what was found.

    Raises:
        NotInstalled: there is no PostgreSQL or no PgBouncer.
    """
    binary("postgres")
    program("pgbouncer", "pgbouncer")
    with tempfile.TemporaryDirectory(prefix="check-pgbouncer-") as name, ExitStack() as close:
        folder = Path(name)
        folder.chmod(0o755)
        cluster = close.enter_context(Cluster(folder / "postgres").started())
        cluster.ask(f"CREATE DATABASE {_DATABASE}")
        port = close.enter_context(pooled(folder / "pgbouncer", cluster))
        settings = {
            "DATABASE_URL": _url(port),
            "REDIS_URL": close.enter_context(any_queue(folder / "queue")),
            "VIDEOQUEUE_WORKER_PROCESSES": "2",
        }
        service = close.enter_context(deployed(folder / "service", options, settings))
        yield from _load(service, port, cluster)
        yield from _release(service, port)


def _url(port: int) -> str:
    return f"postgresql://postgres:{_IN_URL}@127.0.0.1:{port}/{_DATABASE}"


def _load(service: Deployment, port: int, cluster: Cluster) -> Iterator[Check]:
    before = _Other(port)
    with before, ThreadPoolExecutor(_CLIENTS) as clients:
        answers = list(clients.map(lambda _: service.submit(), range(_JOBS)))
        statuses = Counter(answer.status_code for answer in answers)
        yield Check(f"{_JOBS} submissions", {202: _JOBS}, dict(statuses))
        accepted = [answer.json()["job_id"] for answer in answers if answer.status_code == 202]
        ends = Counter(clients.map(lambda job_id: service.ended(job_id, 600)["status"], accepted))
    yield Check("all jobs complete", {"completed": _JOBS}, dict(ends))
    yield Check("the log names no bug", [], service.bugs()[:3])
    log = service.log()
    words = [
        word for word in ("prepared statement", "SQLSTATE", "database_unavailable") if word.encode() in log
    ]
    yield Check("the log names no error of the database", [], words)
    yield Check("another client of the pool has no error", [], before.errors[:3])
    looked = before.looks >= 20
    yield Check("another client of the pool looked at its session at least 20 times", True, looked)
    yield Check("another client of the pool sees no changed setting", {}, before.changed)
    prepared = sum(len(_ask(port, "SELECT name FROM pg_prepared_statements")) for _ in range(8))
    yield Check("no session of the pool has a prepared statement", 0, prepared)
    locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
    yield Check("no session holds an advisory lock", [(0,)], cluster.ask(locks, database=_DATABASE))


class _Other:
    """Another client of the pool, which looks at the settings of its session during the block."""

    def __init__(self, port: int) -> None:
        self.looks = 0
        self.errors: list[str] = []
        self.changed: dict[str, str] = {}
        self._port = port
        self._wanted = self._look()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> dict[str, str]:
        rows = _ask(self._port, f"SELECT name, setting FROM pg_settings WHERE name IN {_SETTINGS}")
        return {str(name): str(setting) for name, setting in rows}

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            try:
                found = self._look()
            except psycopg.Error as error:
                self.errors.append(str(error))
                continue
            self.looks += 1
            self.changed |= {name: found[name] for name in found if found[name] != self._wanted[name]}


def _ask(port: int, query: str) -> list[tuple[Any, ...]]:
    # PgBouncer gives the session to another client when the transaction has ended.
    with psycopg.connect(_url(port), autocommit=True, prepare_threshold=None, connect_timeout=20) as client:
        return client.execute(query.encode()).fetchall()


def _release(service: Deployment, port: int) -> Iterator[Check]:
    """The release command, twice at once, through PgBouncer; the schema is there already."""
    release = service.process.commands["release"]
    # Users of other drivers write this option into the URL.
    given = f"DATABASE_URL={shlex.quote(_url(port) + '?prepare_threshold=0')} {release}"
    done = [service.process.run(["bash", "-c", given])]
    with ThreadPoolExecutor(2) as pool:
        done += pool.map(service.process.run, [["bash", "-c", release]] * 2)
    first, *both = [one.returncode or "no error" for one in done]
    yield Check("?prepare_threshold=0 in the URL is no error", "no error", first)
    yield Check("two release commands at once through PgBouncer are no error", ["no error"] * 2, both)
