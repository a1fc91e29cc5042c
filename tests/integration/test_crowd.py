"""Very many connections, of which most say or read nothing: the others are served as before."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.serving import Client, Web, padded, serving
from tests.support.stack import eventually
from tests.support.videos import make_video

pytestmark = pytest.mark.usefixtures("many_files")

#: Whoever waits for a client waits longer than any test does.
PATIENT = {
    "VIDEOQUEUE_UPLOAD_STALL_SECONDS": "300",
    "VIDEOQUEUE_HEADER_SECONDS": "300",
    "VIDEOQUEUE_KEEP_ALIVE_SECONDS": "300",
    "VIDEOQUEUE_SLOT_WAIT_SECONDS": "300",
}
OTHER = "127.0.0.2"
GET = b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def body(tmp_path: Path) -> bytes:
    return make_video(tmp_path / "video.mp4").read_bytes()


@contextmanager
def patient(tmp_path: Path, redis_url: str, **settings: str) -> Iterator[Web]:
    with serving(tmp_path / "web", REDIS_URL=redis_url, **PATIENT | settings) as web:
        # The question whether web answers was a connection too, which would count for a moment.
        eventually(lambda: not ports(worker_of(web)), "no connection is left")
        yield web


def worker_of(web: Web) -> psutil.Process:
    (worker,) = psutil.Process(web.service.pid("web")).children()
    return worker


def receiving(web: Web) -> int:
    return len(list((web.folder / "objects").rglob(".part-*")))


def ports(worker: psutil.Process) -> list[int]:
    """The ports of the clients that are connected."""
    return [connection.raddr.port for connection in worker.net_connections() if connection.raddr]


def is_closed(client: Client) -> bool:
    """Whether the server has closed the connection; waits until it has, or a moment."""
    client.socket.settimeout(0.5)
    try:
        return client.socket.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    finally:
        client.socket.settimeout(120)


def test_thousands_of_idle_connections_slow_uploads_and_slow_readers_stop_nobody_else(
    tmp_path: Path, redis_url: str, body: bytes
) -> None:
    """All of them come from one address; another one uploads and reads."""
    chunk = b'{"frame_index":0,"result":{"text":"%b"}}' % (b"x" * 8_000_000)
    with patient(tmp_path, redis_url, VIDEOQUEUE_WEB_THREADS="8") as web, ExitStack() as stack:
        worker = worker_of(web)
        job_id = web.completed(chunk, chunk)
        small = web.completed(b'{"frame_index":0,"result":{}}')
        for _ in range(3000):
            stack.enter_context(Client(web))
        for number in range(40):
            client = stack.enter_context(Client(web, receive_buffer=4096))
            path = f"/video/results/{job_id}".encode() if number % 2 else b"/docs"
            client.send(GET % path * (1 if number % 2 else 200))
        uploading = [stack.enter_context(Client(web)) for _ in range(16)]
        for client in uploading:
            client.begin_upload(len(body), body[:-1])
        eventually(lambda: receiving(web) == 3, "one address has its share of the slots")
        for source in ("127.0.0.1", OTHER):
            began = time.monotonic()
            with Client(web, source=source) as client:
                assert b" 200 " in client.get("/healthz")
            assert time.monotonic() - began < 5
        with Client(web, source=OTHER) as client:
            client.begin_upload(len(body), body)
            assert b" 202 " in client.one_answer()
            client.send(
                GET.replace(b"localhost", b"localhost\r\nConnection: close")
                % b"/video/results/%b"
                % str(small).encode()
            )
            assert b'"frame_index":0' in client.answer()
        assert worker_of(web).pid == worker.pid
        for client in uploading:
            client.send(body[-1:])
        for client in uploading:
            assert b" 202 " in client.one_answer()
    assert "VIDEOQUEUE_MAX_CONNECTIONS_PER_ADDRESS" in web.service.log("web")
    assert "Traceback" not in web.service.log("web")


def test_when_connections_are_used_up_the_longest_idle_one_is_closed(
    tmp_path: Path, redis_url: str, body: bytes
) -> None:
    settings = {"VIDEOQUEUE_MAX_CONNECTIONS": "6", "VIDEOQUEUE_MAX_CONNECTIONS_PER_ADDRESS": "6"}
    with patient(tmp_path, redis_url, **settings) as web, ExitStack() as stack:
        uploading, silent, first, second = (stack.enter_context(Client(web)) for _ in range(4))
        uploading.begin_upload(len(body), body[:-1])
        eventually(lambda: receiving(web) == 1, "the upload has begun")
        assert b" 200 " in first.get("/healthz")
        assert b" 200 " in second.get("/healthz")
        assert b" 200 " in stack.enter_context(Client(web, source=OTHER)).get("/healthz")
        assert b" 200 " in stack.enter_context(Client(web, source=OTHER)).get("/healthz")
        assert [is_closed(client) for client in (silent, first, second)] == [True, False, False]
        assert b" 200 " in first.get("/healthz")
        uploading.send(body[-1:])
        assert b" 202 " in uploading.one_answer()
    assert "VIDEOQUEUE_MAX_CONNECTIONS is reached" in web.service.log("web")


def test_an_address_beyond_its_share_of_connections_loses_its_own_longest_idle_one(
    tmp_path: Path, redis_url: str
) -> None:
    with (
        patient(tmp_path, redis_url, VIDEOQUEUE_MAX_CONNECTIONS_PER_ADDRESS="2") as web,
        ExitStack() as stack,
    ):
        other = stack.enter_context(Client(web, source=OTHER))
        assert b" 200 " in other.get("/healthz")
        clients = [stack.enter_context(Client(web)) for _ in range(3)]
        for client in clients[1:]:
            assert b" 200 " in client.get("/healthz")
        assert is_closed(clients[0])
        assert b" 200 " in other.get("/healthz")
        assert [b" 200 " in client.get("/healthz") for client in clients[1:]] == [True, True]


def test_an_address_that_uses_all_its_connections_is_refused_and_told_why(
    tmp_path: Path, redis_url: str, body: bytes
) -> None:
    with (
        patient(tmp_path, redis_url, VIDEOQUEUE_MAX_CONNECTIONS_PER_ADDRESS="2") as web,
        ExitStack() as stack,
    ):
        uploading = [stack.enter_context(Client(web)) for _ in range(2)]
        for client in uploading:
            client.begin_upload(len(body), body[:-1])
        eventually(lambda: receiving(web) == 2, "both have begun")
        refused = stack.enter_context(Client(web)).answer()
        assert refused.startswith(b"HTTP/1.1 429 ")
        assert b"Retry-After: 5" in refused
        assert b'"code": "rate_limited"' in refused
        assert b"VIDEOQUEUE_MAX_CONNECTIONS_PER_ADDRESS" in refused
        assert b" 200 " in stack.enter_context(Client(web, source=OTHER)).get("/healthz")
        for client in uploading:
            client.send(body[-1:])
            assert b" 202 " in client.one_answer()


@pytest.mark.parametrize("trusted", ["0", "1"])
def test_behind_a_trusted_proxy_the_slots_are_shared_by_the_clients_address(
    tmp_path: Path, redis_url: str, body: bytes, trusted: str
) -> None:
    """Without one, X-Forwarded-For says nothing: all are one client then."""
    settings = {
        "VIDEOQUEUE_AUTH": "off",
        "VIDEOQUEUE_TRUSTED_PROXIES": trusted,
        "VIDEOQUEUE_MAX_CONNECTIONS_PER_ADDRESS": "5",
        "VIDEOQUEUE_MAX_UPLOADS_PER_ADDRESS": "1",
        "VIDEOQUEUE_SLOT_WAIT_SECONDS": "1",
    }
    with patient(tmp_path, redis_url, **settings) as web, ExitStack() as stack:
        clients = [stack.enter_context(Client(web)) for _ in range(4)]
        refused = (clients[1], clients[3]) if trusted == "1" else clients[1:]
        served = 0
        for number, client in enumerate(clients):
            forged = "" if number % 2 else f"X-Forwarded-For: 192.0.2.{number}\r\n"
            headers = f"{forged}X-Forwarded-For: 2001:db8:0:{number // 2}::{number}\r\n"
            client.begin_upload(len(body), body[:-1], headers)
            served += client not in refused
            eventually(lambda: receiving(web) == served, "the upload has begun")  # noqa: B023
        for client in refused:
            said = client.answer()
            assert b" 429 " in said
            assert b"VIDEOQUEUE_MAX_UPLOADS_PER_ADDRESS" in said
        for client in set(clients) - set(refused):
            client.send(body[-1:])
            assert b" 202 " in client.one_answer()


def test_the_connections_of_a_trusted_proxy_have_no_share(tmp_path: Path, redis_url: str) -> None:
    settings = {
        "VIDEOQUEUE_AUTH": "off",
        "VIDEOQUEUE_TRUSTED_PROXIES": "1",
        "VIDEOQUEUE_MAX_CONNECTIONS_PER_ADDRESS": "1",
    }
    with patient(tmp_path, redis_url, **settings) as web, ExitStack() as stack:
        clients = [stack.enter_context(Client(web)) for _ in range(5)]
        for _ in range(2):
            assert all(b" 200 " in client.get("/healthz") for client in clients)


@pytest.fixture(scope="module")
def two_threads(tmp_path_factory: pytest.TempPathFactory, valkey_server: str) -> Iterator[Web]:
    with patient(tmp_path_factory.mktemp("two"), f"{valkey_server[:-1]}5", VIDEOQUEUE_WEB_THREADS="2") as web:
        yield web


def test_clients_that_pipeline_and_read_nothing_hold_no_thread(two_threads: Web) -> None:
    last = GET.replace(b"localhost", b"localhost\r\nConnection: close") % b"/openapi.json"
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(two_threads, receive_buffer=4096)) for _ in range(20)]
        for client in clients:
            client.send(GET % b"/openapi.json" * 99 + last)
        with Client(two_threads) as other:
            for _ in range(50):
                assert b" 200 " in other.get("/healthz")
        clients[0].socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)  # it reads quickly now
        said = clients[0].answer()
    assert said.count(b"HTTP/1.1 200 OK\r\n") == 100
    assert len(set(body.rpartition(b"\r\n\r\n")[2] for body in said.split(b"HTTP/1.1 200 OK\r\n")[1:])) == 1


def test_a_client_that_does_not_read_its_responses_is_cut_off(tmp_path: Path, redis_url: str) -> None:
    settings = {"VIDEOQUEUE_WEB_THREADS": "2", "VIDEOQUEUE_UPLOAD_STALL_SECONDS": "2"}
    with patient(tmp_path, redis_url, **settings) as web:
        worker = worker_of(web)
        with Client(web, receive_buffer=4096) as client:
            client.send(GET % b"/openapi.json" * 300)
            accepted = client.socket.getsockname()[1]
            eventually(lambda: accepted in ports(worker), "the connection is accepted")
            eventually(lambda: accepted not in ports(worker), "the connection is closed")
    assert "Traceback" not in web.service.log("web")


def test_a_pipelined_request_that_is_never_completed_takes_no_thread(two_threads: Web) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(two_threads)) for _ in range(4)]
        for client in clients:
            client.send(GET % b"/healthz" + (GET % b"/nope")[:9])
            assert b" 200 " in client.one_answer()
        with Client(two_threads) as other:
            assert b" 200 " in other.get("/healthz")
        for client in clients:
            client.send((GET % b"/nope")[9:])
            assert b" 404 " in client.one_answer()


def test_a_head_without_an_end_is_refused_and_takes_no_thread(two_threads: Web) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(two_threads)) for _ in range(4)]
        for client in clients:
            client.send(b"GET /healthz HTTP/1.1\r\n" + (b"A: %b\r\n" % (b"x" * 8000)) * 9)
        for client in clients:
            said = client.one_answer()
            assert b" 400 " in said
            assert b"65,536 bytes" in said
        with Client(two_threads) as other:
            assert b" 200 " in other.get("/healthz")


def test_a_video_in_chunks_of_one_byte_is_refused(two_threads: Web, body: bytes) -> None:
    head = b"POST /video/submit HTTP/1.1\r\nHost: localhost\r\nContent-Type: video/mp4\r\n"
    with Client(two_threads) as client:
        video = padded(body, 20_000)
        client.send(head + b"Transfer-Encoding: chunked\r\n\r\n")
        client.send(b"".join(b"1\r\n%b\r\n" % video[place : place + 1] for place in range(15_000)))
        said = client.one_answer()
        assert b" 400 " in said
        assert b"VIDEOQUEUE_MIN_CHUNK_BYTES" in said
    assert receiving(two_threads) == 0


def test_without_a_free_file_the_longest_idle_connection_is_closed(tmp_path: Path, redis_url: str) -> None:
    with patient(tmp_path, redis_url) as web, ExitStack() as stack:
        worker = worker_of(web)
        first = stack.enter_context(Client(web))
        assert b" 200 " in first.get("/healthz")
        limit = worker.num_fds() + 5
        worker.rlimit(psutil.RLIMIT_NOFILE, (limit, worker.rlimit(psutil.RLIMIT_NOFILE)[1]))
        clients = [stack.enter_context(Client(web)) for _ in range(40)]
        for client in clients[-3:]:
            assert b" 200 " in client.get("/healthz")
        assert is_closed(first)
        assert worker_of(web).pid == worker.pid
    assert "No connection can be accepted" not in web.service.log("web")
