"""The Python client against responses that are written byte by byte."""

from __future__ import annotations

import io
import logging
import pickle
import threading
import time
import traceback
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.scripted_server import ScriptedServer, problem, response
from videoqueue.client import Client, ClientError, JobFailedError, WaitTimeoutError
from videoqueue.client import attempts as pauses
from videoqueue.client.address import service_url
from videoqueue.client.attempts import retry_after
from videoqueue.exports.formats import FORMATS

KEY = "vq_abcdefghijkl_secretsecret"
ID = "7c3ea37d-a05f-44ac-9cf1-6e5cee6bfec8"
ACCEPTED = response(202, {"job_id": ID})


def status_of(state: str, **more: object) -> bytes:
    body = {"job_id": ID, "status": state, "progress": 0.1, "error_message": None, **more}
    return response(200, body, {"Retry-After": "0"})


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "_FIRST", 0.001)


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """No key and no URL in the environment, and an empty data folder."""
    for name in ("VIDEOQUEUE_URL", "VIDEOQUEUE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VIDEOQUEUE_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return monkeypatch


def refused(responses: list[bytes], *, retry_seconds: float = 60) -> tuple[ClientError, ScriptedServer]:
    """The error of a status request that gets these responses."""
    with ScriptedServer(responses) as server, Client(server.url, KEY, retry_seconds=retry_seconds) as client:
        with pytest.raises(ClientError) as caught:
            client.status(ID)
        return caught.value, server


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 413, 415, 416, 421, 422, 500])
def test_a_refusal_is_raised_at_once_with_code_detail_and_request_id(status: int) -> None:
    headers = {"X-Request-Id": "the-request"}
    error, server = refused([problem(status, "a_code", "A reason.", headers)])
    assert (error.code, error.detail, error.status) == ("a_code", "A reason.", status)
    assert error.request_id == "the-request"
    assert str(error) == f"A reason. (code a_code, status {status}, request the-request)"
    assert len(server.requests) == 1
    assert not error.maybe_done


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504, 507])
def test_a_temporary_refusal_is_tried_again_until_the_time_is_over(status: int) -> None:
    with (
        ScriptedServer([problem(status, "x")] * 3 + [status_of("pending")]) as server,
        Client(server.url, "") as client,
    ):
        assert client.status(ID)["status"] == "pending"
    assert len(server.requests) == 4
    assert len({request.headers["x-request-id"] for request in server.requests}) == 1
    error, server = refused([problem(status, "x", headers={"Retry-After": "61"})])
    assert (error.status, error.retry_after, len(server.requests)) == (status, 61, 1)
    error, server = refused([problem(status, "x")], retry_seconds=0)
    assert (error.status, len(server.requests)) == (status, 1)


def test_the_service_is_left_alone_for_as_long_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(pauses, "time", SimpleNamespace(sleep=slept.append, monotonic=time.monotonic))
    busy = problem(503, "x", headers={"Retry-After": "7"})
    with ScriptedServer([busy, status_of("pending")]) as server, Client(server.url, "") as client:
        client.status(ID)
    assert [7 <= seconds <= 8 for seconds in slept] == [True]


def test_the_time_in_retry_after_may_be_a_date() -> None:
    assert retry_after("7") == 7
    assert 50 < (retry_after(formatdate(time.time() + 60, usegmt=True)) or 0) <= 60
    assert retry_after(formatdate(0, usegmt=True)) == 0
    assert [
        retry_after(text) for text in (None, "", "soon", "-1", "²", "Mon, 01 Jan 9999999999 00:00:00 GMT")
    ] == [None] * 6


def test_without_a_service_the_error_says_so_and_has_a_request_id() -> None:
    with Client("http://127.0.0.1:1", "", retry_seconds=0) as client, pytest.raises(ClientError) as caught:
        client.status(ID)
    assert caught.value.code == "no_response"
    assert caught.value.request_id
    assert not caught.value.maybe_done
    with (
        Client("http://a..b", "", retry_seconds=0) as client,
        pytest.raises(ClientError, match=r"No response from http://a\.\.b"),
    ):
        client.status(ID)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_the_key_goes_nowhere_else(status: int) -> None:
    with ScriptedServer([status_of("pending")]) as other:
        error, _ = refused([response(status, headers={"Location": f"{other.url}/x"})])
    assert other.requests == []
    assert (error.code, error.status) == ("redirected", status)
    assert other.url in error.detail


def test_no_error_log_or_representation_shows_the_key_or_a_password(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    password = "hidden-password"
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"
    for responses in ([problem(503, "x")], [cut], [b""], [response(302, headers={"Location": "http://x"})]):
        with ScriptedServer(responses) as server:
            url = server.url.replace("//", f"//user:{password}@")
            client = Client(url, KEY, retry_seconds=0.01)
            with pytest.raises(ClientError) as caught:
                client.status(ID)
        error = caught.value
        assert caught.tb.tb_next is not None  # the frames of the client; this function knows the key
        inner = traceback.TracebackException(type(error), error, caught.tb.tb_next, capture_locals=True)
        shown = "".join(inner.format())
        texts = [repr(client), str(error), repr(vars(error)), client.url, caplog.text]
        assert [text for text in texts if "secretsecret" in text or password in text] == []
        assert "secretsecret" not in shown
        # The errors of `requests` have the request and its headers.
        assert error.__context__ is None
        assert error.__cause__ is None


def test_the_key_is_that_of_the_argument_the_environment_or_the_file(
    environ: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "data" / "api-key"

    def sent(key: str | None) -> str | None:
        server.requests.clear()
        with Client(server.url, key) as client:
            client.status(ID)
        return server.requests[0].headers.get("authorization")

    with ScriptedServer([status_of("pending")]) as server:
        assert sent(None) is None
        file.write_text("of_file\n")
        file.chmod(0o644)
        with pytest.raises(ClientError, match="Other users can read the key"):
            sent(None)
        file.chmod(0o600)
        assert sent(None) == "Bearer of_file"
        environ.setenv("VIDEOQUEUE_API_KEY", " of_environment ")
        assert sent(None) == "Bearer of_environment"
        assert sent("of_argument") == "Bearer of_argument"
        assert sent("") is None
    with pytest.raises(ValueError, match="ASCII characters without spaces") as refused:
        Client("http://localhost", "secret key")
    assert "secret" not in str(refused.value)


def test_no_proxy_of_the_environment_gets_what_is_for_this_machine(environ: pytest.MonkeyPatch) -> None:
    with ScriptedServer([status_of("pending")]) as proxy, ScriptedServer([status_of("pending")]) as service:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            environ.setenv(name, proxy.url)
        with Client(service.url, "a-key") as client:
            client.status(ID)
        assert (len(service.requests), proxy.requests) == (1, [])


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000])
def test_a_body_of_endless_depth_is_an_error_of_the_client(body: bytes) -> None:
    head = f"HTTP/1.1 {{}} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    for status, code in ((200, "broken_response"), (400, None)):
        error, _ = refused([head.format(status).encode() + body], retry_seconds=0)
        assert error.code == code


@pytest.mark.parametrize(
    ("given", "path"), [("", ""), ("/", ""), ("/videos", "/videos"), ("/a%20b/videos/", "/a%20b/videos")]
)
def test_the_url_may_have_a_path_and_a_slash_at_its_end(given: str, path: str) -> None:
    with ScriptedServer([status_of("pending")]) as server, Client(server.url + given, "") as client:
        client.status(ID)
    assert server.requests[0].line == f"GET {path}/video/status/{ID} HTTP/1.1"


def test_the_address_may_be_one_of_ipv6() -> None:
    with ScriptedServer([status_of("pending")], "::1") as server, Client(server.url, "") as client:
        client.status(ID)
    assert server.requests[0].headers["host"] == f"[::1]:{server.port}"


@pytest.mark.parametrize(
    "url",
    [
        *("", "localhost:8000", "ftp://host", "http://", "http://:80", "http://::1:8000", "http://[::1"),
        *(
            "http://host:99999",
            "http://host:0",
            "http://host:x",
            "http://host?a=b",
            "http://host#a",
            "http://a b",
            "http://other\\@localhost",
        ),
        "http://host\r\nX: y",
    ],
)
def test_another_url_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(ValueError, match="The URL of the service cannot be used"):
        Client(url)


def test_the_url_is_that_of_the_environment_or_of_this_machine(environ: pytest.MonkeyPatch) -> None:
    assert Client().url == "http://127.0.0.1:8000"
    environ.setenv("VIDEOQUEUE_URL", "https://videos.example.com/x/")
    assert Client().url == "https://videos.example.com/x"
    assert service_url("http://u:p@h/") == "http://u:p@h"
    assert Client("http://u:p@h/").url == "http://h"


@pytest.mark.parametrize("job_id", ["..", ".", "", "a/../../jobs", "x?y", "x#y"])
def test_no_job_id_leads_to_another_address(job_id: str) -> None:
    with ScriptedServer([problem(404, "job_not_found")]) as server, Client(server.url, "") as client:
        with pytest.raises(ClientError) as caught:
            client.delete(job_id)
        assert caught.value.code == "job_not_found"
        lines = [request.line.removeprefix("DELETE /jobs/").split()[0] for request in server.requests]
    assert [line for line in lines if set(line) & set("/?#")] == []


def test_headers_that_end_early_are_no_empty_result(tmp_path: Path) -> None:
    heads = [
        b"HTTP/1.1 200 OK\r\nX: y\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length:",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ]
    heads.append(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chu")
    whole = response(200, {"results": []})
    with ScriptedServer([*heads, whole]) as server, Client(server.url, "") as client:
        client.save_results(ID, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b'{"results": []}'


def test_a_page_of_another_server_is_told_at_once() -> None:
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"
    error, server = refused([page])
    assert (error.code, len(server.requests)) == ("bad_response", 1)
    error, server = refused([page.replace(b"200 OK", b"404 No")])
    assert (error.code, error.status, len(server.requests)) == (None, 404, 1)
    for body in (["x"], {"y": 1}):
        with ScriptedServer([response(200, body)]) as server, Client(server.url, "") as client:
            with pytest.raises(ClientError, match="not one of a videoqueue service"):
                list(client.frames(ID))
            with pytest.raises(ClientError, match="not one of a videoqueue service"):
                client.wait(ID)


class Pipe(io.RawIOBase):
    """A file object that can be read once, a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._stream = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(min(size, 1000))


def test_a_file_object_is_sent_from_its_position_and_again_from_there() -> None:
    file = io.BytesIO(b"head" + b"x" * 1000)
    file.seek(4)
    seen: list[tuple[int, int | None]] = []
    with ScriptedServer([problem(503, "x"), ACCEPTED]) as server, Client(server.url, "") as client:
        client.submit(file, name="n", frame_stride=2, progress=lambda *sent: seen.append(sent))
    assert [request.body for request in server.requests] == [b"x" * 1000] * 2
    assert server.requests[0].line == "POST /video/submit?frame_stride=2&name=n HTTP/1.1"
    assert server.requests[0].headers["content-length"] == "1000"
    assert len({request.headers["idempotency-key"] for request in server.requests}) == 1
    assert seen == [(0, 1000), (1000, 1000)] * 2


def test_a_pipe_is_sent_once_in_large_chunks_and_the_error_says_so() -> None:
    data = bytes(600_000)
    with ScriptedServer([ACCEPTED]) as server, Client(server.url, "") as client:
        assert client.submit(Pipe(data)) == ID
    assert server.requests[0].body == data
    assert "content-length" not in server.requests[0].headers
    with ScriptedServer([problem(503, "busy"), ACCEPTED]) as server, Client(server.url, "") as client:
        with pytest.raises(ClientError, match="not seekable, and was read once") as caught:
            client.submit(Pipe(data), idempotency_key="mine")
        assert (caught.value.code, caught.value.idempotency_key) == ("busy", "mine")
    assert len(server.requests) == 1


def test_errors_of_the_file_are_raised_as_they_are(tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    class Shrinking(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return b""

    def stop(_sent: int, _total: int | None) -> None:
        raise ZeroDivisionError

    with ScriptedServer([ACCEPTED]) as server, Client(server.url, "") as client:
        with pytest.raises(OSError, match="Input/output error"):
            client.submit(Broken(b"x"))
        with pytest.raises(ClientError, match="became shorter"):
            client.submit(Shrinking(b"x"))
        with pytest.raises(ZeroDivisionError):
            client.submit(io.BytesIO(b"x"), progress=stop)
        with pytest.raises(FileNotFoundError):
            client.submit(tmp_path / "none.mp4")
        with pytest.raises(TypeError, match="binary mode"):
            client.submit(io.StringIO("x"))  # type: ignore[arg-type]
        for key in ("", "x" * 256, "a\nb", "ä"):
            with pytest.raises(ValueError, match="printable ASCII"):
                client.submit(io.BytesIO(b"x"), idempotency_key=key)


def test_the_name_is_that_of_the_file_as_far_as_it_is_text(tmp_path: Path) -> None:
    file = tmp_path / "a\udcff b.mp4"
    file.write_bytes(b"x")
    with ScriptedServer([ACCEPTED]) as server, Client(server.url, "") as client:
        client.submit(file)
        client.submit(io.BytesIO(b"x"))
        with file.open("rb") as opened:
            client.submit(opened)
    lines = [request.line.split()[1] for request in server.requests]
    named = "/video/submit?name=a%EF%BF%BD+b.mp4"
    assert lines == [named, "/video/submit", named]


def test_waiting_polls_until_the_end_and_raises_the_reason_of_a_failed_job() -> None:
    seen = []
    failed = status_of("failed", error_message="It ends early.")
    described = response(200, {"error_code": "truncated_mp4"})
    script = [status_of("pending"), status_of("running"), failed, described]
    with (
        ScriptedServer(script) as server,
        Client(server.url, "") as client,
        pytest.raises(JobFailedError) as caught,
    ):
        client.wait(ID, on_status=lambda job: seen.append(job["status"]))
    assert seen == ["pending", "running", "failed"]
    error = caught.value
    assert (error.job_id, error.error_code, error.error_message) == (ID, "truncated_mp4", "It ends early.")
    assert error.detail == f"Job {ID} failed: It ends early."


def test_waiting_ends_at_its_time_limit_also_when_nothing_responds() -> None:
    with ScriptedServer([status_of("running")]) as server, Client(server.url, "") as client:
        with pytest.raises(
            WaitTimeoutError, match=r"had not ended within 0\.3 seconds, and goes on\. It is running"
        ):
            client.wait(ID, 0.3)
        with pytest.raises(TimeoutError):
            client.wait(ID, 0)
    with (
        ScriptedServer([b""]) as server,
        Client(server.url, "") as client,
        pytest.raises(WaitTimeoutError, match="No response from"),
    ):
        client.wait(ID, 0.3)


def test_errors_can_be_pickled() -> None:
    errors = [
        ClientError("d", code="c", status=404, request_id="r"),
        JobFailedError("d", job_id=ID, error_code="c"),
        WaitTimeoutError("d", job_id=ID),
    ]
    for error in errors:
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), vars(again), str(again)) == (type(error), vars(error), str(error))


def test_a_list_of_jobs_is_fetched_page_by_page_and_only_as_far_as_it_is_read() -> None:
    pages = [
        response(200, {"jobs": [{"job_id": "1"}, {"job_id": "2"}], "next_page_token": "t"}),
        response(200, {"jobs": [{"job_id": "3"}], "next_page_token": None}),
    ]
    with ScriptedServer(pages) as server, Client(server.url, "") as client:
        jobs = client.jobs("failed", page_size=2)
        assert [next(jobs)["job_id"], next(jobs)["job_id"]] == ["1", "2"]
        assert len(server.requests) == 1
        assert [job["job_id"] for job in jobs] == ["3"]
    assert "page_token=t" in server.requests[1].line


def test_threads_share_a_client() -> None:
    with ScriptedServer([status_of("pending")]) as server, Client(server.url, "") as client:
        threads = [threading.Thread(target=client.status, args=(ID,)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(server.requests) == 20


def test_a_device_is_written_to_and_not_replaced() -> None:
    with ScriptedServer([response(200, {})]) as server, Client(server.url, "") as client:
        client.save_results(ID, "/dev/null")
    assert Path("/dev/null").is_char_device()


def test_the_formats_in_the_documentation_of_export_are_all() -> None:
    assert [name for name in FORMATS if f"`{name}`" not in (Client.export.__doc__ or "")] == []
