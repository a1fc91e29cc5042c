"""No call of the Python client goes on without limit, however slowly bytes move."""

from __future__ import annotations

import io
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from tests.support.certificate import write_certificate
from tests.support.scripted_server import ScriptedServer, problem, response
from videoqueue.client import Client, ClientError, WaitTimeoutError
from videoqueue.client import attempts as pauses

ID = "7c3ea37d-a05f-44ac-9cf1-6e5cee6bfec8"
STATUS = response(200, {"job_id": ID, "status": "running"})
#: Longer than any of the limits below, at one byte of `SlowServer` after the other.
LONG = 200
HEAD = "its head was not whole within 0.3 seconds (timeout)"
BODY = (
    "fewer than 300 bytes within 0.3 seconds (timeout), which is below 1000 a second (min_bytes_per_second)"
)


@dataclass
class SlowServer(ScriptedServer):
    """Sends the first bytes of a response at once, and one or some of the others each 20 ms."""

    #: Where the slow part begins: behind a text of the response, or at its beginning.
    after: bytes = b""
    step: int = 1

    def send(self, connection: socket.socket, response: bytes) -> None:
        start = response.index(self.after) + len(self.after)
        never = threading.Event()
        try:
            connection.sendall(response[:start])
            for position in range(start, len(response), self.step):
                never.wait(0.02)
                connection.sendall(response[position : position + self.step])
        except OSError:
            return  # the client does not wait any longer


def chunked(pieces: int) -> bytes:
    head = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: x\r\nContent-Type: application/json\r\n\r\n"
    )
    return head + b"1\r\n1\r\n" * pieces + b"0\r\n\r\n"


PADDED = response(200, {"job_id": ID, "status": "running", "x": "y" * LONG})


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "_FIRST", 0.001)


def impatient(url: str, *, timeout: float = 0.3, retry_seconds: float = 0, rate: float = 1000) -> Client:
    return Client(url, "", timeout=timeout, retry_seconds=retry_seconds, min_bytes_per_second=rate)


@pytest.mark.parametrize(
    ("sent", "after", "call", "code", "why"),
    [
        (PADDED, b"", lambda client: client.status(ID), "no_response", HEAD),
        (PADDED, b"HTTP/1.1 200 X\r\n", lambda client: client.status(ID), "no_response", HEAD),
        (PADDED, b"\r\n\r\n", lambda client: client.status(ID), "broken_response", BODY),
        (
            problem(400, "x", "y" * LONG),
            b"\r\n\r\n",
            lambda client: client.status(ID),
            "broken_response",
            BODY,
        ),
        (chunked(LONG), b"\r\n\r\n", lambda client: client.results(ID), "broken_response", BODY),
        (
            chunked(LONG),
            b"\r\n\r\n",
            lambda client: client.save_results(ID, io.BytesIO()),
            "broken_response",
            BODY,
        ),
    ],
    ids=["all", "head", "JSON", "refusal", "chunks", "download"],
)
def test_a_response_that_arrives_byte_by_byte_ends_the_call_and_the_error_names_the_limit(
    sent: bytes, after: bytes, call: Callable[[Client], object], code: str, why: str
) -> None:
    with SlowServer([sent], after=after) as server, impatient(server.url) as client:
        with pytest.raises(ClientError) as caught:
            call(client)
        assert caught.value.code == code
        assert why in caught.value.detail


def test_the_time_for_attempts_does_not_begin_anew_for_a_byte_now_and_then() -> None:
    class Resuming(SlowServer):
        """Sends what is missing, so that each attempt gets further than the one before."""

        def send(self, connection: socket.socket, response: bytes) -> None:
            if wanted := self.requests[-1].headers.get("range"):
                part = f"HTTP/1.1 206 X\r\nContent-Range: {wanted.replace('=', ' ')}{2 * LONG}/{2 * LONG}\r\n"
                response = response.replace(b"HTTP/1.1 200 OK\r\n", part.encode())
            super().send(connection, response)

    output = io.BytesIO()
    with Resuming([chunked(LONG)], after=b"\r\n\r\n", step=len(b"1\r\n1\r\n")) as server:
        client = impatient(server.url, timeout=1, retry_seconds=0.1)
        with client, pytest.raises(ClientError, match="below 1000 a second"):
            client.video(ID, output)
        assert len(server.requests) == 2
    (first,) = (request.headers["range"] for request in server.requests[1:])
    assert 0 < int(first.removeprefix("bytes=").removesuffix("-")) < len(output.getvalue())


def test_a_body_may_take_longer_than_the_limit_if_it_goes_on() -> None:
    """It takes 1.5 s, and each half second 2 bytes are needed."""
    with (
        SlowServer([STATUS], after=b"\r\n\r\n") as server,
        impatient(server.url, timeout=0.5, rate=4) as client,
    ):
        assert client.status(ID)["status"] == "running"


def test_an_upload_that_nobody_takes_ends_and_the_error_names_the_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with impatient(url) as client, pytest.raises(ClientError) as caught:
            client.submit(io.BytesIO(bytes(32 * 1024**2)))
    assert caught.value.code == "no_response"
    assert BODY in caught.value.detail


def test_the_time_that_a_file_needs_does_not_count() -> None:
    class Live(io.RawIOBase):
        """A piece and the end, with a pause before each that is longer than the limit."""

        pieces: ClassVar = [b"", b"x" * 3000]

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            threading.Event().wait(0.4 if self.pieces else 0)
            return self.pieces.pop() if self.pieces else b""

    accepted = response(202, {"job_id": ID})
    with ScriptedServer([accepted]) as server, impatient(server.url) as client:
        assert client.submit(Live()) == ID
    assert server.requests[0].body == b"x" * 3000


def test_waiting_for_a_job_ends_at_its_time_also_when_each_poll_is_slow() -> None:
    with SlowServer([PADDED], after=b"\r\n\r\n") as server, Client(server.url, "") as client:
        with pytest.raises(WaitTimeoutError, match="the time limit of the call is over"):
            client.wait(ID, 0.3)
        assert len(server.requests) == 1


def test_the_limits_hold_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    write_certificate(certificate, key)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    class Encrypted(SlowServer):
        def encrypted(self, connection: socket.socket) -> socket.socket:
            return context.wrap_socket(connection, server_side=True)

    for after, why in ((b"HTTP/1.1", HEAD), (b"\r\n\r\n", BODY)):
        with Encrypted([PADDED], after=after) as server:
            url = server.url.replace("http:", "https:")
            with impatient(url) as client, pytest.raises(ClientError) as caught:
                client.status(ID)
        assert why in caught.value.detail


@pytest.mark.parametrize(
    ("scheme", "after", "line"),
    [("http", b"\r\n\r\n", "GET http://videos.invalid/"), ("https", b"", "CONNECT videos.invalid:443 ")],
)
def test_the_limits_hold_behind_a_proxy(
    scheme: str, after: bytes, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SlowServer([PADDED], after=after) as proxy:
        monkeypatch.setenv(f"{scheme}_proxy", proxy.url)
        with impatient(f"{scheme}://videos.invalid") as client, pytest.raises(ClientError) as caught:
            client.status(ID)
    assert BODY in caught.value.detail
    assert proxy.requests[0].line.startswith(line)


@pytest.mark.parametrize("limits", [{"timeout": 0}, {"retry_seconds": -1}, {"min_bytes_per_second": 0}])
def test_a_limit_that_cannot_be_used_is_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="take numbers above 0"):
        Client("http://localhost", "", **limits)
