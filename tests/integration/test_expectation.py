"""`Expect: 100-continue`: a client that asks first is told to send its body only if somebody reads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.records import lease_policy, new_job
from tests.support.serving import Client, Web, serving
from tests.support.stack import eventually
from tests.support.videos import make_video
from videoqueue.jobs.api_key import Scope
from videoqueue.jobs.keys import KeyStore
from videoqueue.jobs.owners import OwnerStore
from videoqueue.jobs.store import JobStore

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
SETTINGS = {
    "VIDEOQUEUE_AUTH": "required",
    "VIDEOQUEUE_ALLOWED_HOSTS": "localhost",
    "VIDEOQUEUE_MAX_UPLOAD_BYTES": str(10**15),
    "VIDEOQUEUE_MAX_CONCURRENT_UPLOADS": "1",
    "VIDEOQUEUE_SLOT_WAIT_SECONDS": "0.1",
    "VIDEOQUEUE_MAX_PENDING_JOBS": "2",
}
VIDEO = "Content-Type: video/mp4"


class Asking(NamedTuple):
    """A client of the service whose request has a body."""

    web: Web
    tokens: dict[str | None, str]

    def head(
        self,
        *fields: str,
        line: str = "POST /video/submit HTTP/1.1",
        host: str = "localhost",
        scope: str | None = "submit",
        expect: str = "100-continue",
    ) -> bytes:
        key = [f"Authorization: Bearer {self.tokens[scope]}"] if scope else []
        return "\r\n".join([line, f"Host: {host}", f"Expect: {expect}", *key, *fields, "", ""]).encode()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, valkey_server: str) -> Iterator[Asking]:
    folder = tmp_path_factory.mktemp("asking")
    with serving(folder, REDIS_URL=f"{valkey_server[:-1]}8", **SETTINGS) as web:
        keys = KeyStore(web.engine)
        scopes: tuple[Scope, ...] = ("submit", "metrics")
        yield Asking(web, {scope: keys.create("anna", frozenset({scope}))[1] for scope in scopes})


@pytest.fixture
def asking(shared: Asking) -> Asking:
    shared.web.clear()
    return shared


@pytest.fixture
def body(tmp_path: Path) -> bytes:
    return make_video(tmp_path / "video.mp4").read_bytes()


def refusal(asking: Asking, head: bytes) -> bytes:
    """All that the server sends until it closes the connection, although no byte of a body has arrived."""
    with Client(asking.web) as client:
        client.send(head)
        return client.answer()


LENGTH = "Content-Length: 1000"


@pytest.mark.parametrize(
    ("status", "fields", "options"),
    [
        (401, [VIDEO, LENGTH], {"scope": None}),
        (401, [VIDEO, "Transfer-Encoding: chunked"], {"scope": None}),
        (403, [VIDEO, LENGTH], {"scope": "metrics"}),
        (404, [LENGTH], {"line": "POST /nothing HTTP/1.1"}),
        (405, [LENGTH], {"line": "PUT /video/submit HTTP/1.1"}),
        (413, [VIDEO, f"Content-Length: {10**16}"], {}),
        (415, ["Content-Type: text/plain", LENGTH], {}),
        (415, [VIDEO, "Content-Encoding: gzip", "Transfer-Encoding: chunked"], {}),
        (421, [VIDEO, LENGTH], {"host": "elsewhere.example"}),
        (507, [VIDEO, f"Content-Length: {9 * 10**14}"], {}),
    ],
)
def test_a_refused_client_is_not_told_to_send_its_body(
    asking: Asking, status: int, fields: list[str], options: dict[str, str]
) -> None:
    said = refusal(asking, asking.head(*fields, **options))
    assert said.startswith(b"HTTP/1.1 %d " % status)
    assert b"Connection: close" in said


def test_a_client_beyond_a_limit_is_not_told_to_send_its_body(asking: Asking) -> None:
    store = JobStore(asking.web.engine, lease_policy())
    with Client(asking.web) as uploading:
        uploading.send(asking.head(VIDEO, LENGTH))
        assert uploading.socket.recv(100) == CONTINUE
        assert refusal(asking, asking.head(VIDEO, LENGTH)).startswith(b"HTTP/1.1 429 ")  # no slot
    OwnerStore(asking.web.engine).set_limits("anna", {"max_pending": 1})
    store.create(new_job(owner="anna"))
    said = eventually(lambda: quota_refusal(asking), "the slot is free")
    assert said.startswith(b"HTTP/1.1 429 ")
    OwnerStore(asking.web.engine).set_limits("anna", {"max_pending": None})
    store.create(new_job())
    assert refusal(asking, asking.head(VIDEO, LENGTH)).startswith(b"HTTP/1.1 503 ")


def quota_refusal(asking: Asking) -> bytes | None:
    said = refusal(asking, asking.head(VIDEO, LENGTH))
    return said if b"quota_exceeded" in said else None


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_client_whose_video_is_read_is_told_once_to_send_it(
    asking: Asking, body: bytes, is_chunked: bool
) -> None:
    framing = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {len(body)}"
    half = len(body) // 2
    parts = [body[:half], body[half:]]
    if is_chunked:
        parts = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts] + [b"0\r\n\r\n"]
    with Client(asking.web) as client:
        for _ in range(2):  # the connection stays open
            client.send(asking.head(VIDEO, framing))
            assert client.socket.recv(len(CONTINUE)) == CONTINUE
            for part in parts:
                client.send(part)
            said = client.one_answer()
            assert said.startswith(b"HTTP/1.1 202 ")
            assert b"Connection: keep-alive" in said
            asking.web.clear()


@pytest.mark.parametrize(
    ("head", "sent"),
    [
        ({"line": "POST /video/submit HTTP/1.0"}, 0),  # RFC 9110: such a client has to be ignored
        ({}, 1),  # the client has begun to send its body, so it does not wait
        ({"expect": "100-Continue"}, 1),
    ],
)
def test_a_client_that_does_not_wait_is_told_nothing(
    asking: Asking, body: bytes, head: dict[str, str], sent: int
) -> None:
    with Client(asking.web) as client:
        client.send(asking.head(VIDEO, f"Content-Length: {len(body)}", **head) + body[:sent])
        client.send(body[sent:])
        assert client.one_answer().split()[1] == b"202"


def test_a_request_without_a_body_is_told_nothing_and_its_connection_stays_open(asking: Asking) -> None:
    with Client(asking.web) as client:
        for _ in range(2):
            client.send(asking.head(line="GET /healthz HTTP/1.1"))
            said = client.one_answer()
            assert said.startswith(b"HTTP/1.1 200 ")
            assert b"Connection: keep-alive" in said


def test_an_unknown_expectation_is_refused(asking: Asking) -> None:
    said = refusal(asking, asking.head(VIDEO, LENGTH, expect="a-cookie"))
    assert said.startswith(b"HTTP/1.1 417 ")
    assert b'"code": "expectation_failed"' in said
