"""A web process that has no file left for another connection, or for what a request needs."""

from __future__ import annotations

import errno
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.support.main_loop import main_loop
from tests.support.s3_server import BUCKET, s3_server
from tests.support.serving import Client, Web, post_raw, serving
from tests.support.stack import eventually
from tests.support.videos import make_video

pytestmark = pytest.mark.usefixtures("many_files")

LIMIT = 1024


@pytest.fixture
def body(tmp_path: Path) -> bytes:
    return make_video(tmp_path / "video.mp4").read_bytes()


def worker_of(web: Web) -> psutil.Process:
    (worker,) = psutil.Process(web.service.pid("web")).children()
    return worker


@contextmanager
def idle(web: Web, count: int) -> Iterator[None]:
    """So many clients that say nothing."""
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(Client(web))
        yield


@contextmanager
def finished(web: Web, count: int) -> Iterator[None]:
    """So many clients that got their answer and do not hang up: the process waits a while for that."""
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(web)) for _ in range(count)]
        for client in clients:
            client.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        for client in clients:
            assert b" 200 " in client.answer()
        yield


def test_more_idle_connections_than_files_cost_no_upload(tmp_path: Path, redis_url: str, body: bytes) -> None:
    prelude = f"ulimit -n {LIMIT}; "
    with serving(tmp_path / "web", prelude=prelude, REDIS_URL=redis_url) as web:
        worker = worker_of(web)
        with Client(web) as uploading:
            uploading.begin_upload(len(body), body[:-1])
            eventually(lambda: list((web.folder / "objects").rglob(".part-*")), "the upload has begun")
            with finished(web, 100), idle(web, LIMIT - 24):
                uploading.send(body[-1:])
                assert b" 202 " in uploading.one_answer()
            assert requests.get(f"{web.url}/healthz", timeout=2).ok
        assert worker_of(web).pid == worker.pid
    assert "Traceback" not in web.service.log("web")


def test_the_soft_limit_of_open_files_is_raised(tmp_path: Path, redis_url: str) -> None:
    with serving(tmp_path / "web", prelude="ulimit -Sn 200; ", REDIS_URL=redis_url) as web:
        soft, hard = worker_of(web).rlimit(psutil.RLIMIT_NOFILE)
        assert soft == hard > 200
        with idle(web, 250):
            assert requests.get(f"{web.url}/healthz", timeout=60).ok


def test_a_process_without_a_file_left_waits_for_one(
    tmp_path: Path, redis_url: str, database_url: str, body: bytes
) -> None:
    """Nobody can be accepted; who is connected is told to try again; with files, all goes on."""
    settings = {"DATABASE_URL": database_url, "VIDEOQUEUE_STORAGE_URL": f"file://{tmp_path / 'objects'}"}
    with serving(tmp_path / "web", REDIS_URL=redis_url, **settings) as web:
        worker = worker_of(web)
        _, hard = worker.rlimit(psutil.RLIMIT_NOFILE)
        with Client(web) as before, Client(web) as uploading:
            before.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b" 200 " in before.one_answer()
            uploading.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b" 200 " in uploading.one_answer()
            worker.rlimit(psutil.RLIMIT_NOFILE, (3, hard))
            with Client(web) as after:
                after.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                eventually(lambda: "No connection can be accepted" in web.service.log("web"), "it says so")
                before.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert b" 200 " in before.one_answer()
                before.send(
                    b"GET /video/status/%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % str(uuid.uuid4()).encode()
                )
                assert b" 503 " in before.one_answer()
                uploading.begin_upload(len(body), body)
                assert b" 503 " in uploading.one_answer()
                worker.rlimit(psutil.RLIMIT_NOFILE, (hard, hard))
                assert b" 200 " in after.answer()
        assert post_raw(web.url, body).status_code == 202
        assert worker_of(web).pid == worker.pid
    log = web.service.log("web")
    assert log.count("No connection can be accepted") == 1
    assert "Traceback" not in log


@pytest.fixture
def storage(database_url: str, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The settings of a folder beside SQLite, of S3 beside Postgres."""
    if database_url.startswith("sqlite"):
        yield {"VIDEOQUEUE_STORAGE_URL": f"file://{tmp_path / 'objects'}"}
        return
    with s3_server() as server:
        yield server.environ | {"VIDEOQUEUE_STORAGE_URL": f"s3://{BUCKET}/out-of-files"}


@pytest.mark.parametrize("limit", [3, 20, 21, 22, 23, 24])
def test_no_request_fails_for_want_of_a_file_in_a_way_that_looks_like_a_bug(
    tmp_path: Path,
    redis_url: str,
    database_url: str,
    storage: dict[str, str],
    body: bytes,
    limit: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fresh process with its clients has about 20 files open, and has not connected to anything yet."""
    # Coverage of that process would need a file when it ends, and print a traceback of its own.
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    requests_made = {path: b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path for path in PATHS}
    with serving(tmp_path / "web", REDIS_URL=redis_url, DATABASE_URL=database_url, **storage) as web:
        worker = worker_of(web)
        with ExitStack() as stack:
            clients = [stack.enter_context(Client(web)) for _ in range(len(PATHS) + 1)]
            for client in clients:
                client.send(requests_made[b"/healthz"])
                client.one_answer()
            worker.rlimit(psutil.RLIMIT_NOFILE, (limit, worker.rlimit(psutil.RLIMIT_NOFILE)[1]))
            clients[-1].begin_upload(len(body), body)
            codes = [clients[-1].one_answer().split()[1]]
            for client, request in zip(clients, requests_made.values(), strict=False):
                client.send(request)
                codes.append(client.one_answer().split()[1])
        assert b"500" not in codes
        assert worker_of(web).pid == worker.pid
    assert "Traceback" not in web.service.log("web")


PATHS = (
    b"/healthz",
    b"/readyz",
    b"/docs",
    b"/openapi.json",
    b"/video/status/%b" % str(uuid.uuid4()).encode(),
)


class Listener:
    """A listening socket on which accept fails first, as the system cannot be made to on demand."""

    def __init__(self, error: int) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._error = error
        self.failures = 0

    def accept(self) -> Any:
        if self.failures == 0:
            self.failures += 1
            raise OSError(self._error, os.strerror(self._error))
        return self._socket.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


PASSING = [
    *(errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED, errno.EPERM, errno.EPROTO),
    *(errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN, errno.ENONET, errno.EHOSTUNREACH, errno.EOPNOTSUPP),
    *(errno.ENETUNREACH, errno.ETIMEDOUT, errno.ECONNRESET, errno.ENOSR, errno.ENOSPC, errno.EIO),
]


@pytest.mark.parametrize("error", PASSING, ids=errno.errorcode.get)
def test_after_a_failed_accept_the_listener_is_left_out_for_a_moment_and_taken_up_again(error: int) -> None:
    listener = Listener(error)
    with main_loop(listener) as worker, socket.create_connection(listener.getsockname()) as client:
        worker.set_accept_enabled(True)
        worker.wait_for_and_dispatch_events(60)
        assert listener.failures == 1
        assert list(worker.poller.get_map()) == []

        worker.wait_for_and_dispatch_events(1)  # ends with the pause, at the latest
        worker.set_accept_enabled(True)  # as the main loop does in each round
        worker.wait_for_and_dispatch_events(60)
        assert worker.nr_conns == 1
        assert [conn.client for conn in worker.pending_conns] == [client.getsockname()]
        worker.pending_conns[0].close()


def test_a_listener_that_is_of_no_use_any_more_ends_the_process() -> None:
    listener = Listener(errno.EBADF)
    with main_loop(listener) as worker, socket.create_connection(listener.getsockname()):
        worker.set_accept_enabled(True)
        with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
            worker.wait_for_and_dispatch_events(60)


def test_a_connection_that_cannot_be_watched_is_closed_and_not_counted() -> None:
    with (
        main_loop(socket.create_server(("127.0.0.1", 0))) as worker,
        socket.create_connection(worker.sockets[0].getsockname()) as client,
    ):
        worker.set_accept_enabled(True)
        worker.poller.full = True
        worker.wait_for_and_dispatch_events(60)
        assert client.recv(1) == b""
        assert (worker.nr_conns, len(worker.pending_conns)) == (0, 0)
        worker.wait_for_and_dispatch_events(60)
        worker.set_accept_enabled(True)
        assert list(worker.poller.get_map()) == []

        worker.poller.full = False
        worker.wait_for_and_dispatch_events(60)
        worker.set_accept_enabled(True)
        assert len(worker.poller.get_map()) == 1


def test_connections_that_are_being_closed_are_counted() -> None:
    with (
        main_loop(socket.create_server(("127.0.0.1", 0))) as worker,
        socket.create_connection(worker.sockets[0].getsockname()) as client,
    ):
        worker.set_accept_enabled(True)
        worker.wait_for_and_dispatch_events(60)
        (conn,) = worker.pending_conns
        worker.pending_conns.clear()
        worker.poller.unregister(conn.sock)
        worker.nr_conns -= 1
        conn.close(graceful=True)
        assert worker.nr_conns == 1

        client.close()
        worker.wait_for_and_dispatch_events(60)
        assert worker.nr_conns == 0
