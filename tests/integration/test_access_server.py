"""Access to a real server: the body of a refused request, the bound address, keys in two processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support.serving import Client, Web, serving
from tests.support.stack import eventually, free_port
from videoqueue.jobs.keys import KeyStore

GIGABYTE = 1_000_000_000
UPLOAD = b"POST /video/submit HTTP/1.1\r\nHost: localhost\r\nContent-Type: video/mp4\r\n"


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory, valkey_server: str) -> Iterator[Web]:
    folder = tmp_path_factory.mktemp("closed")
    settings = {"VIDEOQUEUE_AUTH": "required", "WEB_CONCURRENCY": "2"}
    with serving(folder, REDIS_URL=f"{valkey_server[:-1]}7", **settings) as web:
        yield web


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: %d\r\n\r\n" % GIGABYTE,
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"Content-Length: %d\r\nAuthorization: Bearer vq_wrong\r\n\r\n" % GIGABYTE,
        b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % GIGABYTE,
    ],
)
def test_an_upload_without_a_valid_key_is_refused_before_its_body_arrives(closed: Web, rest: bytes) -> None:
    with Client(closed) as client:
        client.send(UPLOAD + rest)
        said = client.answer()  # the server closes the connection although no byte of the body was sent
    assert b"HTTP/1.1 401 " in said
    assert b'"code": "unauthorized"' in said
    assert b"Connection: close" in said
    assert closed.rows() == []
    assert closed.files() == []


def test_an_upload_of_another_site_is_refused_before_its_body_arrives(tmp_path: Path, redis_url: str) -> None:
    with serving(tmp_path / "open", REDIS_URL=redis_url) as web, Client(web) as client:
        client.send(UPLOAD + b"Origin: http://evil.example\r\nContent-Length: %d\r\n\r\n" % GIGABYTE)
        assert b"HTTP/1.1 403 " in client.answer()


def test_a_revoked_key_is_refused_by_all_processes_within_ten_seconds(closed: Web) -> None:
    keys = KeyStore(closed.engine)
    key, token = keys.create("anna", frozenset({"read"}))
    header = {"Authorization": f"Bearer {token}"}

    def statuses() -> set[int]:
        """Each request has a connection of its own, so that both processes serve some."""
        url = f"{closed.url}/video/status/unknown"
        return {requests.get(url, headers=header, timeout=10).status_code for _ in range(20)}

    assert statuses() == {404}
    keys.revoke(key.key_id)
    eventually(lambda: statuses() == {401}, "no process accepts the key", seconds=10)


def test_a_request_without_a_key_is_told_how_the_operator_gets_one(closed: Web) -> None:
    response = requests.get(f"{closed.url}/video/status/unknown", timeout=10)
    assert response.status_code == 401
    assert "python -m videoqueue keys create --owner NAME" in response.json()["detail"]
    assert "python -m videoqueue keys create --owner NAME" in closed.service.log("web")


@pytest.mark.parametrize(
    "settings",
    [
        {"VIDEOQUEUE_HOST": ""},  # PORT is set, as by a hosting platform
        {"VIDEOQUEUE_HOST": "0.0.0.0"},
        {"GUNICORN_CMD_ARGS": "--bind 0.0.0.0:{port}"},
        {"GUNICORN_CMD_ARGS": "--bind 127.0.0.1:{port} --bind 0.0.0.0:{other}"},
    ],
)
def test_listening_beyond_loopback_needs_a_key_also_from_this_machine(
    tmp_path: Path, redis_url: str, settings: dict[str, str]
) -> None:
    port, other = free_port(), free_port()
    given = {name: value.format(port=port, other=other) for name, value in settings.items()}
    with serving(tmp_path / "public", REDIS_URL=redis_url, PORT=str(port), **given):
        assert requests.get(f"http://127.0.0.1:{port}/video/status/unknown", timeout=10).status_code == 401
