"""Debian's PostgreSQL and PgBouncer, each in a folder of its own."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from servers import running
from servers.parts import NotInstalled, program
from tests.support.stack import free_port

_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
PASSWORD = "a@b:c/d"
_IN_URL = "a%40b%3Ac%2Fd"
_SETTINGS = """\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
fsync = off
wal_level = replica
max_connections = 100
"""
_POOLER = """\
[databases]
* = host=127.0.0.1 port={server} user=postgres password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {pool}
max_client_conn = 200
admin_users = postgres
ignore_startup_parameters =
"""


def binary(name: str) -> Path:
    """Returns a program of the newest PostgreSQL that is installed.

    Raises:
        NotInstalled: there is none.
    """
    found = [folder / name for folder in _BINARIES if (folder / name).exists()]
    if not found:
        raise NotInstalled("PostgreSQL is not installed. Install it: apt install postgresql")
    return found[-1]


class Cluster:
    """A PostgreSQL server on a port of 127.0.0.1, with the superuser `postgres` and a password."""

    def __init__(self, folder: Path, more: str = "", copy_of: Cluster | None = None) -> None:
        """`more` are lines of postgresql.conf. A copy is a standby of the other server."""
        self.folder = running.own(folder)
        self.data = folder / "data"
        self.port = free_port()
        if copy_of is None:
            self._initialise()
        else:
            # The configuration comes along; what is written after it counts.
            run: list[object] = [binary("pg_basebackup"), "-D", self.data, "-R", "-X", "stream", "-c", "fast"]
            running.run([*run, "-d", copy_of.url("postgres")])
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(_SETTINGS.format(port=self.port, folder=folder) + more)

    def _initialise(self) -> None:
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        shutil.chown(secret, running.user())
        run: list[object] = [binary("initdb"), "-D", self.data, "-U", "postgres", "-N", f"--pwfile={secret}"]
        running.run([*run, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"])

    @contextmanager
    def started(self) -> Iterator[Cluster]:
        """Runs the server for the block."""
        command = [binary("postgres"), "-D", self.data]
        with running.process(command, self.folder / "log", self.answers, signal.SIGINT):
            yield self

    def answers(self) -> bool:
        with suppress(psycopg.Error):
            self.ask("SELECT 1")
            return True
        return False

    def url(self, database: str, query: str = "") -> str:
        """Returns the DATABASE_URL of one of its databases."""
        return f"postgresql://postgres:{_IN_URL}@127.0.0.1:{self.port}/{database}{query}"

    def ask(self, *statements: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Runs statements outside of transactions; returns the rows of the last one, if it has any."""
        with (
            psycopg.connect(self.url(database), autocommit=True, connect_timeout=5) as connection,
            connection.cursor() as cursor,
        ):
            for statement in statements:
                cursor.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def set(self, name: str, value: str) -> None:
        """Changes a setting of the server, also for sessions that are open."""
        self.ask(f"ALTER SYSTEM SET {name} = {value}", "SELECT pg_reload_conf()")

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """The server refuses writes for the block, as after a failover to another one."""
        self.set("default_transaction_read_only", "on")
        try:
            yield
        finally:
            undo = ("SET default_transaction_read_only = off", "ALTER SYSTEM RESET ALL")
            self.ask(*undo, "SELECT pg_reload_conf()")


@contextmanager
def pooled(folder: Path, cluster: Cluster, pool: int = 8) -> Iterator[int]:
    """Runs PgBouncer in transaction mode in front of the server. Yields its port.

    Args:
        pool: its number of connections to the server.
    """
    pgbouncer = program("pgbouncer", "pgbouncer")
    port = free_port()
    file = running.own(folder) / "pgbouncer.ini"
    file.write_text(_POOLER.format(server=cluster.port, password=PASSWORD, port=port, pool=pool))
    with running.process([pgbouncer, file], folder / "log", lambda: running.is_open(port)):
        yield port
