"""Clients that stall, dribble, do not read or do not hang up: each is cut off, and the others go on."""

from __future__ import annotations

import contextlib
import select
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from tests.support.serving import Client, Web, padded, post_raw, serving
from tests.support.stack import eventually
from tests.support.videos import make_video

THREADS = 4
#: A client that kept a thread would keep it longer than any test waits.
PATIENT = {
    "VIDEOQUEUE_UPLOAD_STALL_SECONDS": "300",
    "VIDEOQUEUE_WEB_THREADS": str(THREADS),
    "VIDEOQUEUE_MAX_UPLOADS_PER_ADDRESS": str(THREADS),
}
#: One that stalls is cut off at once, and nobody waits for a turn.
STRICT = {
    "VIDEOQUEUE_UPLOAD_STALL_SECONDS": "2",
    "VIDEOQUEUE_UPLOAD_MIN_BYTES_PER_SECOND": "1000",
    "VIDEOQUEUE_HEADER_SECONDS": "1",
    "VIDEOQUEUE_WEB_THREADS": "2",
}


@pytest.fixture(scope="module")
def shared_strict(tmp_path_factory: pytest.TempPathFactory, valkey_server: str) -> Iterator[Web]:
    with serving(tmp_path_factory.mktemp("web"), REDIS_URL=f"{valkey_server[:-1]}4", **STRICT) as web:
        yield web


@pytest.fixture
def strict(shared_strict: Web) -> Web:
    shared_strict.clear()
    return shared_strict


@pytest.fixture
def patient(tmp_path: Path, redis_url: str) -> Iterator[Web]:
    settings = PATIENT | {"VIDEOQUEUE_SLOT_WAIT_SECONDS": "1", "VIDEOQUEUE_HEADER_SECONDS": "300"}
    with serving(tmp_path / "web", REDIS_URL=redis_url, **settings) as web:
        yield web


@pytest.fixture
def body(tmp_path: Path) -> bytes:
    return make_video(tmp_path / "video.mp4").read_bytes()


def answers(web: Web, seconds: float = 30) -> bool:
    """Whether a status request is answered, long before any of the bounds of `patient` ends."""
    return requests.get(f"{web.url}/video/status/x", timeout=seconds).status_code == 404


def test_a_stalled_upload_is_cut_off_and_leaves_nothing(strict: Web, body: bytes) -> None:
    with Client(strict) as client:
        client.begin_upload(len(body), body[:-1])
        said = client.answer()
    assert b" 408 " in said.splitlines()[0]
    assert b"Connection: close" in said
    assert b"upload_timeout" in said
    assert b"VIDEOQUEUE_UPLOAD_STALL_SECONDS" in said
    assert (strict.rows(), strict.files(), strict.queued()) == ([], [], [])


def test_a_stalled_form_is_cut_off_too(strict: Web) -> None:
    with Client(strict) as client:
        client.send(
            b"POST /video/submit HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
        )
        assert b"upload_timeout" in client.answer()
    assert strict.files() == []


def test_a_stalled_chunked_upload_is_cut_off_too(strict: Web, body: bytes) -> None:
    with Client(strict) as client:
        client.send(
            b"POST /video/submit HTTP/1.1\r\nHost: localhost\r\nContent-Type: video/mp4\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b" % (len(body), body[:-1])
        )
        assert b"upload_timeout" in client.answer()
    assert strict.files() == []


def test_a_dribbling_upload_is_cut_off(strict: Web, body: bytes) -> None:
    """Each byte comes long before it would count as a stall; together they are too few."""
    with Client(strict) as client:
        client.begin_upload(len(body), body[:1000])
        stop = threading.Event()

        def dribble() -> None:
            for byte in body[1000:]:
                if stop.wait(0.2):
                    return
                client.send(bytes([byte]))

        thread = threading.Thread(target=dribble)
        thread.start()
        first = client.one_answer()
        stop.set()
        thread.join()
    assert b"upload_timeout" in first


def test_a_slow_upload_that_keeps_coming_is_taken(strict: Web, body: bytes) -> None:
    """It lasts longer than a stall may."""
    body = padded(body, 100_000)
    with Client(strict) as client:
        client.begin_upload(len(body))
        pause = threading.Event()
        step = len(body) // 8
        for start in range(0, len(body), step):
            pause.wait(0.4)
            client.send(body[start : start + step])
        assert b" 202 " in client.one_answer()
    assert [row.input_bytes for row in strict.rows()] == [len(body)]


def test_a_stalled_upload_gives_its_turn_back(strict: Web, body: bytes) -> None:
    """Two threads, so one upload at a time: the second waits for the first to be cut off."""
    with Client(strict) as client:
        client.begin_upload(len(body), body[:-1])
        assert post_raw(strict.url, body).status_code == 202
        assert b"upload_timeout" in client.answer()


def test_twice_as_many_stalled_uploads_as_threads_stop_nobody_else(patient: Web, body: bytes) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(patient)) for _ in range(2 * THREADS)]
        for client in clients:
            client.begin_upload(len(body), body[:-1])
        assert all(answers(patient) for _ in range(50))
        refused = eventually(lambda: _all_but(THREADS // 2, clients), "whoever had no turn is refused")
        for client in refused:
            said = client.answer()
            assert b" 429 " in said
            assert b"rate_limited" in said
            assert b"Retry-After: 5" in said
        assert all(answers(patient) for _ in range(50))
        for client in set(clients) - set(refused):
            client.send(body[-1:])
            assert b" 202 " in client.one_answer()
    assert len(patient.rows()) == len(patient.files()) == THREADS // 2


def test_an_upload_waits_for_its_turn_without_a_thread(tmp_path: Path, redis_url: str, body: bytes) -> None:
    with serving(tmp_path / "web", REDIS_URL=redis_url, **PATIENT, VIDEOQUEUE_SLOT_WAIT_SECONDS="300") as web:
        with ExitStack() as stack:
            clients = [stack.enter_context(Client(web)) for _ in range(2 * THREADS)]
            for client in clients:
                client.begin_upload(len(body), body[:-1])
            assert answers(web)
            for client in clients:
                client.send(body[-1:])
            for client in clients:
                assert b" 202 " in client.one_answer()
        assert len(web.rows()) == 2 * THREADS


def test_requests_that_are_never_completed_take_no_thread(patient: Web) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(patient)) for _ in range(2 * THREADS)]
        for client in clients[::2]:
            client.send(b"GET /video/sta")
        assert all(answers(patient) for _ in range(10))


def test_a_request_head_must_come_in_time(strict: Web) -> None:
    with Client(strict) as client:
        client.send(b"GET /video/status/x HTTP/1.1\r\n")
        with pytest.raises(ConnectionResetError):
            client.answer()


def test_a_request_head_in_single_bytes_is_read(strict: Web) -> None:
    with Client(strict) as client:
        for byte in b"GET /video/status/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n":
            client.send(bytes([byte]))
        assert b"job_not_found" in client.answer()


def test_clients_that_do_not_hang_up_stop_nobody(patient: Web) -> None:
    """A server that waits for each goodbye in its main loop accepts nobody meanwhile."""
    with ExitStack() as stack:
        for _ in range(40):
            client = stack.enter_context(Client(patient))
            client.send(b"GET /video/status/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert all(answers(patient, 10) for _ in range(3))


def test_a_client_that_does_not_read_its_results_is_cut_off(strict: Web) -> None:
    """Two threads, so one download at a time: the second waits for the first to be cut off."""
    chunk = b'{"frame_index":0,"result":{"text":"%b"}}' % (b"x" * 8_000_000)
    job_id = strict.completed(chunk, chunk)
    with Client(strict, receive_buffer=4096) as client:
        client.send(f"GET /video/results/{job_id} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert b" 200 " in client.socket.recv(64)
        other = requests.get(f"{strict.url}/video/results/{job_id}", timeout=60)
        assert len(other.content) > 2 * len(chunk)
        said = client.answer()
    assert len(said) < 2 * len(chunk)
    assert not said.endswith(b"0\r\n\r\n")
    assert "Traceback" not in strict.service.log("web")


def test_a_client_that_is_refused_early_still_gets_its_answer(strict: Web) -> None:
    """It sends far more than fits into buffers before it looks for an answer."""
    size = 50_000_000
    with Client(strict) as client:
        client.begin_upload(size, b"%PDF-1.7\n")
        sender = threading.Thread(target=_send_all, args=(client, size))
        sender.start()
        said = client.one_answer()
        sender.join()
    assert b" 400 " in said
    assert b"not_mp4" in said


def _all_but(number: int, clients: list[Client]) -> list[Client]:
    """Those that were answered, once all but so many were."""
    answered, _, _ = select.select([client.socket for client in clients], [], [], 1)
    return (
        [client for client in clients if client.socket in answered]
        if len(answered) == len(clients) - number
        else []
    )


def _send_all(client: Client, size: int) -> None:
    with contextlib.suppress(OSError):  # it may be hung up on
        client.send(bytes(size))
