"""Downloads of the Python client that broke off, up to behind the last byte, and what counts as temporary."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.scripted_server import ScriptedServer, problem
from videoqueue.api.problems import PROBLEMS, TRY_AGAIN
from videoqueue.client import Client, ClientError, responses
from videoqueue.client import attempts as pauses

ID = "7c3ea37d-a05f-44ac-9cf1-6e5cee6bfec8"
BYTES = b"0123456789"
#: As a proxy sends it that does not pass on the length.
CHUNKED = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: "a"\r\n\r\na\r\n' + BYTES + b"\r\n"
WHOLE = CHUNKED + b"0\r\n\r\n"


def no_rest(size: int | None) -> bytes:
    """What the service sends when it is asked for bytes behind the end."""
    headers = {} if size is None else {"Content-Range": f"bytes */{size}"}
    return problem(416, "range_not_satisfiable", headers=headers)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "_FIRST", 0.001)


Fetch = Callable[[Client, io.BytesIO], None]


def video(client: Client, output: io.BytesIO) -> None:
    client.video(ID, output)


def export(client: Client, output: io.BytesIO) -> None:
    client.export(ID, "csv", output)


def results(client: Client, output: io.BytesIO) -> None:
    client.save_results(ID, output)


def fetched(script: list[bytes], fetch: Fetch = video) -> tuple[bytes, list[str | None]]:
    """What is written, and the range that each request asked for."""
    output = io.BytesIO()
    with ScriptedServer(script) as server, Client(server.url, "") as client:
        fetch(client, output)
    return output.getvalue(), [request.headers.get("range") for request in server.requests]


def test_a_video_that_broke_off_behind_its_last_byte_is_whole() -> None:
    assert fetched([CHUNKED, no_rest(10)]) == (BYTES, [None, "bytes=10-"])


@pytest.mark.parametrize("size", [None, 9, 11])
def test_an_end_that_does_not_say_that_all_was_sent_is_looked_for_in_the_whole(size: int | None) -> None:
    assert fetched([CHUNKED, no_rest(size), WHOLE]) == (BYTES, [None, "bytes=10-", None])


@pytest.mark.parametrize("fetch", [export, results])
def test_what_has_no_ranges_and_broke_off_behind_its_last_byte_is_whole(fetch: Fetch) -> None:
    assert fetched([CHUNKED, WHOLE], fetch) == (BYTES, [None, None])


def test_a_video_that_became_another_one_is_begun_again(tmp_path: Path) -> None:
    other = WHOLE.replace(b'"a"', b'"b"').replace(BYTES, b"abcdefghij")
    with ScriptedServer([CHUNKED, no_rest(4), other]) as server, Client(server.url, "") as client:
        client.video(ID, tmp_path / "v.mp4")
    assert (tmp_path / "v.mp4").read_bytes() == b"abcdefghij"
    with pytest.raises(ClientError, match="has changed since"):
        fetched([CHUNKED, no_rest(4), other])


@pytest.mark.parametrize("fetch", [video, export, results])
def test_bytes_that_nobody_asked_for_are_a_refusal(fetch: Fetch) -> None:
    with pytest.raises(ClientError) as caught:
        fetched([no_rest(10)], fetch)
    assert caught.value.code == "range_not_satisfiable"


def test_what_the_service_says_to_repeat_is_what_the_client_repeats() -> None:
    of_proxies = {502, 504}
    assert responses.TRY_AGAIN - of_proxies == TRY_AGAIN
    assert {status for status, _ in PROBLEMS.values()} >= TRY_AGAIN


@pytest.mark.parametrize("status", sorted(responses.TRY_AGAIN))
def test_waiting_for_a_job_outlives_what_is_temporary(status: int) -> None:
    with ScriptedServer([problem(status, "x")]) as server, Client(server.url, "") as client:
        with pytest.raises(TimeoutError):
            client.wait(ID, 0.05)
        assert len(server.requests) > 1
