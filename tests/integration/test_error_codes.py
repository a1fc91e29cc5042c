"""Each code of the error table, provoked over a real socket. A code without a provocation fails here."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import requests
import sqlalchemy as sa

from tests.support.records import lease_policy
from tests.support.serving import Client, Web, padded, post, post_raw, serving
from tests.support.stack import free_port
from tests.support.videos import make_video
from videoqueue.api.problems import PROBLEMS, ProblemCode
from videoqueue.jobs.api_key import Scope
from videoqueue.jobs.keys import KeyStore
from videoqueue.jobs.owners import OwnerStore
from videoqueue.jobs.store import JobStore

KEYS = ["type", "title", "status", "detail", "instance", "code"]
#: Whatever a provocation needs besides the defaults, so that all of them share a few servers.
TIGHT = {
    "VIDEOQUEUE_MAX_UPLOAD_BYTES": "100000",
    "VIDEOQUEUE_UPLOAD_STALL_SECONDS": "8",
    "VIDEOQUEUE_MAX_PENDING_JOBS": "2",
    "VIDEOQUEUE_MAX_CONCURRENT_UPLOADS": "1",
    "VIDEOQUEUE_SLOT_WAIT_SECONDS": "0.1",
}

Provocation = Callable[[Web, Path], requests.Response]


def submit(make: Callable[[Path], Path]) -> Provocation:
    return lambda web, folder: post(web.url, make(folder))


def saved(data: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "file.mp4"
        path.write_bytes(data)
        return path

    return make


def video(folder: Path) -> Path:
    return make_video(folder / "video.mp4")


def changed(old: bytes, new: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = video(folder)
        data = path.read_bytes()
        assert old in data
        path.write_bytes(data.replace(old, new))
        return path

    return make


def cut(folder: Path) -> Path:
    path = video(folder)
    path.write_bytes(path.read_bytes()[:-200])
    return path


def raw(web: Web, head: bytes, *, hang_up: bool = False) -> requests.Response:
    """What a client is answered that `requests` would not be."""
    with Client(web) as client:
        client.send(head)
        if hang_up:
            client.socket.shutdown(socket.SHUT_WR)
        said = client.answer()
    lines, _, body = said.partition(b"\r\n\r\n")
    first, *headers = lines.decode("latin-1").split("\r\n")
    answer = requests.Response()
    answer.status_code = int(first.split()[1])
    answer.headers.update(dict(header.split(": ", 1) for header in headers))
    answer._content = body
    return answer


def upload_head(length: int) -> bytes:
    return (
        b"POST /video/submit HTTP/1.1\r\nHost: localhost\r\nContent-Type: video/mp4\r\n"
        b"Content-Length: %d\r\n\r\n" % length
    )


def failed_job(web: Web, _: Path) -> requests.Response:
    job_id = pending_job(web)
    store = JobStore(web.engine, lease_policy())
    claim = store.claim(uuid.UUID(job_id), "test")
    assert claim is not None
    store.fail(claim, "The file ends early.")
    return requests.get(f"{web.url}/video/results/{job_id}", timeout=60)


def job_of_an_older_release(web: Web, _: Path) -> requests.Response:
    job_id = pending_job(web)
    store = JobStore(web.engine, lease_policy())
    claim = store.claim(uuid.UUID(job_id), "test")
    assert claim is not None
    store.complete(claim, hashlib.sha256(b"[]").hexdigest())
    return requests.get(f"{web.url}/jobs/{job_id}/export", {"format": "coco"}, timeout=60)


def lost_video(web: Web, _: Path) -> requests.Response:
    job_id = pending_job(web)
    for path in web.files():
        path.unlink()
    return requests.get(f"{web.url}/jobs/{job_id}/video", timeout=60)


def pending_job(web: Web) -> str:
    answer = post(web.url, video(web.folder))
    job_id: str = answer.json()["job_id"]
    return job_id


def retried_early(web: Web, _: Path) -> requests.Response:
    return requests.post(f"{web.url}/jobs/{pending_job(web)}/retry", timeout=60)


def used_key(web: Web, folder: Path) -> requests.Response:
    first = post_raw(web.url, video(folder).read_bytes(), **{"Idempotency-Key": "k"})
    assert first.status_code == 202
    other = make_video(folder / "other.mp4", "OTHER")
    return post_raw(web.url, other.read_bytes(), **{"Idempotency-Key": "k"})


def too_many(web: Web, folder: Path) -> requests.Response:
    for _ in range(2):
        assert post(web.url, video(folder)).status_code == 202
    return post(web.url, video(folder))


def over_quota(web: Web, folder: Path) -> requests.Response:
    _, key = KeyStore(web.engine).create("anna", frozenset({"submit"}))
    OwnerStore(web.engine).set_limits("anna", {"max_pending": 1})
    sender = {"Authorization": f"Bearer {key}", "Content-Type": "video/mp4"}
    for _ in range(2):
        response = requests.post(
            f"{web.url}/video/submit", data=video(folder).read_bytes(), headers=sender, timeout=60
        )
    return response


def busy(web: Web, folder: Path) -> requests.Response:
    with Client(web) as client:
        client.begin_upload(1000)
        return post(web.url, video(folder))


def full_disk(web: Web, folder: Path) -> requests.Response:
    """A file may not grow beyond a megabyte: the process meets EFBIG where a full disk returns ENOSPC."""
    for process in psutil.Process(web.service.pid("web")).children(recursive=True):
        process.rlimit(psutil.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    return post_raw(web.url, padded(video(folder).read_bytes(), 3_000_000))


def bug(web: Web, folder: Path) -> requests.Response:
    (Path(web.service._environ["VIDEOQUEUE_FAILPOINTS_DIR"]) / "web.object_stored").write_text("raise")
    return post(web.url, video(folder))


def without_table(web: Web, provoke: Provocation) -> requests.Response:
    with web.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE job RENAME TO away"))
    try:
        return provoke(web, web.folder)
    finally:
        with web.engine.begin() as connection:
            connection.execute(sa.text("ALTER TABLE away RENAME TO job"))


def get(path: str, **headers: str) -> Provocation:
    return lambda web, _: requests.get(f"{web.url}{path}", headers=headers, timeout=60)


def keyed(web: Web, scope: Scope) -> requests.Response:
    _, key = KeyStore(web.engine).create("anna", frozenset({scope}))
    return get("/video/status/nope", Authorization=f"Bearer {key}")(web, web.folder)


#: code -> (which server, how)
PROVOCATIONS: dict[ProblemCode, tuple[str, Provocation]] = {
    "file_missing": ("plain", lambda web, _: requests.post(f"{web.url}/video/submit", timeout=60)),
    "file_empty": ("plain", submit(saved(b""))),
    "not_mp4": ("plain", submit(saved(b"%PDF-1.7\n" + bytes(2000)))),
    "truncated_mp4": ("plain", submit(cut)),
    "no_video_track": ("plain", submit(changed(b"vide", b"soun"))),
    "unsupported_video": ("plain", submit(changed(b"avc1\0\0\0\0\0\0\0\1", b"wmv3\0\0\0\0\0\0\0\1"))),
    "upload_incomplete": ("plain", lambda web, _: raw(web, upload_head(99) + b"x", hang_up=True)),
    "invalid_parameter": ("plain", lambda web, folder: post(web.url, video(folder), frame_stride=0)),
    "unknown_pipeline": ("plain", lambda web, folder: post(web.url, video(folder), pipeline_id="nope")),
    "unauthorized": ("closed", get("/video/status/nope")),
    "forbidden": ("closed", lambda web, _: keyed(web, "metrics")),
    "cross_site": ("plain", get("/video/status/nope", Origin="https://elsewhere.example")),
    "unknown_host": ("plain", get("/video/status/nope", Host="elsewhere.example")),
    "job_not_found": ("plain", get("/video/status/nope")),
    "results_not_ready": ("plain", lambda web, _: get(f"/video/results/{pending_job(web)}")(web, _)),
    "job_failed": ("plain", failed_job),
    "not_found": ("plain", get("/nope")),
    "method_not_allowed": ("plain", get("/video/submit")),
    "upload_timeout": ("tight", lambda web, _: raw(web, upload_head(99))),
    "upload_too_large": ("tight", lambda web, _: raw(web, upload_head(100_001))),
    "unsupported_media_type": (
        "plain",
        lambda web, _: requests.post(f"{web.url}/video/submit", json={}, timeout=60),
    ),
    "idempotency_key_reused": ("plain", used_key),
    "too_many_pending_jobs": ("tight", too_many),
    "not_retryable": ("plain", retried_early),
    "video_missing": ("plain", lost_video),
    "range_not_satisfiable": (
        "plain",
        lambda web, _: get(f"/jobs/{pending_job(web)}/video", Range="bytes=9999999-")(web, _),
    ),
    "expectation_failed": ("plain", get("/healthz", Expect="a-cookie")),
    "video_size_unknown": ("plain", job_of_an_older_release),
    "rate_limited": ("tight", busy),
    "quota_exceeded": ("closed", over_quota),
    "internal_error": ("plain", bug),
    "not_ready": ("closed", lambda web, folder: without_table(web, get("/readyz"))),
    "database_unavailable": (
        "plain",
        lambda web, folder: without_table(web, lambda web, _: post(web.url, video(folder))),
    ),
    "storage_unavailable": ("without_storage", lambda web, folder: post(web.url, video(folder))),
    "storage_full": ("full", full_disk),
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, valkey_server: str) -> Iterator[Callable[[str], Web]]:
    """A server of each kind, started when it is first asked for."""
    failpoints = tmp_path_factory.mktemp("failpoints")
    s3 = {
        "VIDEOQUEUE_STORAGE_URL": "s3://videos",
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{free_port()}",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_REGION": "us-east-1",
    }
    settings = {
        "plain": {"VIDEOQUEUE_FAILPOINTS_DIR": str(failpoints)},
        "tight": TIGHT,
        "without_storage": s3,
        "full": {},
        "closed": {"VIDEOQUEUE_AUTH": "required"},
    }
    running: dict[str, Web] = {}
    with contextlib.ExitStack() as stack:

        def server(name: str) -> Web:
            if name not in running:
                folder = tmp_path_factory.mktemp(name)
                started = serving(folder, REDIS_URL=f"{valkey_server[:-1]}6", **settings[name])
                running[name] = stack.enter_context(started)
            running[name].clear()
            return running[name]

        yield server


def test_every_code_is_provoked() -> None:
    assert set(PROVOCATIONS) == set(PROBLEMS)


@pytest.mark.parametrize("code", PROVOCATIONS)
def test_the_provocation_is_answered_with_its_code(
    servers: Callable[[str], Web], tmp_path: Path, code: ProblemCode
) -> None:
    name, provoke = PROVOCATIONS[code]
    web = servers(name)
    answer = provoke(web, tmp_path)
    problem = json.loads(answer.content)
    assert problem["code"] == code, problem
    assert list(problem) == KEYS
    assert answer.status_code == problem["status"] == PROBLEMS[code][0]
    assert problem["type"] == f"urn:videoqueue:problem:{code}"
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert problem["instance"] == f"urn:videoqueue:request:{answer.headers['X-Request-Id']}"
    # The cause of `not_ready` is logged once, not for each request.
    is_logged = answer.headers["X-Request-Id"] in web.service.log("web")
    assert is_logged or problem["status"] < 500 or code == "not_ready"
    assert ("Retry-After" in answer.headers) == (
        problem["status"] in (408, 429, 503, 507) or code == "results_not_ready"
    )
    assert "Server" not in answer.headers


UNREADABLE = {
    "no-http": (b"nonsense\r\n\r\n", "not valid HTTP"),
    "folded": (b"GET / HTTP/1.1\r\nHost: localhost\r\n no: folding\r\n\r\n", "not valid HTTP"),
    "endless": (b"GET /" + b"x" * 70_000, "longer than 4,094 bytes"),
    "long-url": (b"GET /" + b"x" * 4094 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", "longer than 4,094 bytes"),
    "long-cookie": (
        b"GET / HTTP/1.1\r\nHost: localhost\r\nCookie: " + b"x" * 8190 + b"\r\n\r\n",
        "100 header fields, or one of more than 8,190 bytes",
    ),
    "many-headers": (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 101 + b"\r\n", "more than 100 header fields"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_no_request_is_a_problem_too(servers: Callable[[str], Web], name: str) -> None:
    request_, says = UNREADABLE[name]
    answer = raw(servers("plain"), request_)
    problem = json.loads(answer.content)
    assert (answer.status_code, problem["code"]) == (400, "invalid_parameter")
    assert says in problem["detail"]
    assert list(problem) == KEYS
