"""GET /jobs/{job_id}/video over a real socket, from a folder and from S3."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.support.s3_server import BUCKET, S3Server, s3_server
from tests.support.serving import Client, Web, padded, post_raw, serving
from tests.support.stack import eventually
from tests.support.videos import make_video
from videoqueue.errors import StorageUnavailableError
from videoqueue.storage.file_range import FileRange

SIZE = 3_000_000


@dataclass
class Stored:
    """A service, and a look behind its storage."""

    web: Web
    s3: S3Server | None

    def replace(self, data: bytes | None) -> None:
        """Puts other bytes in place of each stored video, or removes it."""
        if self.s3 is None:
            for path in self.web.files():
                path.unlink() if data is None else path.write_bytes(data)
            return
        for entry in self.s3.client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
            if data is None:
                self.s3.client.delete_object(Bucket=BUCKET, Key=entry["Key"])
            else:
                self.s3.client.put_object(Bucket=BUCKET, Key=entry["Key"], Body=data)


@pytest.fixture(scope="module", params=["folder", "s3"])
def stored(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, valkey_server: str
) -> Iterator[Stored]:
    folder = tmp_path_factory.mktemp("web")
    settings = {"REDIS_URL": f"{valkey_server[:-1]}7", "VIDEOQUEUE_MAX_CONCURRENT_DOWNLOADS": "2"}
    if request.param == "folder":
        with serving(folder, **settings) as web:
            yield Stored(web, None)
        return
    with s3_server() as server:
        settings |= {"VIDEOQUEUE_STORAGE_URL": f"s3://{BUCKET}/some/prefix", **server.environ}
        with serving(folder, **settings) as web:
            yield Stored(web, server)


@pytest.fixture
def web(stored: Stored) -> Web:
    return stored.web


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    plain = make_video(tmp_path_factory.mktemp("video") / "video.mp4").read_bytes()
    data = bytearray(padded(plain, SIZE))
    data[len(plain) + 8 :] = random.Random(1).randbytes(SIZE - len(plain) - 8)
    return bytes(data)


@pytest.fixture
def url(web: Web, video: bytes) -> str:
    """The video of a job that no worker has claimed."""
    response = post_raw(web.url, video)
    return f"{web.url}/jobs/{response.json()['job_id']}/video"


def get(url: str, **headers: str) -> requests.Response:
    return requests.get(url, headers=headers, timeout=60)


def test_the_whole_video_is_sent_as_it_was_submitted(url: str, video: bytes) -> None:
    response = get(url)
    assert (response.status_code, response.content == video) == (200, True)
    assert response.headers["ETag"] == f'"{hashlib.sha256(video).hexdigest()}"'
    assert response.headers["Content-Type"] == "video/mp4"
    assert response.headers["Content-Length"] == str(SIZE)
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["Content-Disposition"].startswith("attachment; ")
    assert "Content-Range" not in response.headers


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-", 0, SIZE),
        ("bytes=0-0", 0, 1),
        ("bytes=1000000-2999998", 1_000_000, SIZE - 1),
        ("bytes=-5", SIZE - 5, SIZE),
        ("bytes=7-8, 20-30", 7, 9),
        (f"bytes={SIZE - 1}-{SIZE + 5}", SIZE - 1, SIZE),
    ],
)
def test_a_part_is_exactly_the_bytes_asked_for(
    url: str, video: bytes, asked: str, start: int, end: int
) -> None:
    response = get(url, Range=asked)
    assert (response.status_code, response.content == video[start:end]) == (206, True)
    assert response.headers["Content-Range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert response.headers["Content-Length"] == str(end - start)


def test_an_interrupted_download_goes_on_where_it_was(url: str, video: bytes) -> None:
    with requests.get(url, stream=True, timeout=60) as response:
        begun = response.raw.read(1_234_567)
        etag = response.headers["ETag"]
    rest = get(url, **{"Range": f"bytes={len(begun)}-", "If-Range": etag})
    assert (rest.status_code, begun + rest.content == video) == (206, True)
    other = get(url, **{"Range": "bytes=5-", "If-Range": '"other"'})
    assert (other.status_code, other.content == video) == (200, True)


def test_a_range_behind_the_end_is_416(url: str) -> None:
    response = get(url, Range=f"bytes={SIZE}-")
    assert (response.status_code, response.json()["code"]) == (416, "range_not_satisfiable")
    assert response.headers["Content-Range"] == f"bytes */{SIZE}"
    assert str(SIZE) in response.json()["detail"]


def test_head_and_an_unchanged_video_have_no_body(url: str) -> None:
    head = requests.head(url, headers={"Range": "bytes=0-1"}, timeout=60)
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(SIZE))
    assert head.headers["Accept-Ranges"] == "bytes"
    unchanged = get(url, **{"If-None-Match": head.headers["ETag"], "Range": "bytes=0-1"})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert get(url, **{"If-None-Match": f"W/{head.headers['ETag']}"}).status_code == 304


def test_clients_that_hang_up_leave_no_slot_taken(web: Web, url: str) -> None:
    path = url.removeprefix(web.url)
    for _ in range(4):
        with Client(web) as client:
            client.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert client.socket.recv(5) == b"HTTP/"
    eventually(lambda: get(url, Range="bytes=0-1").status_code == 206, "a slot is free")


def test_a_video_that_is_gone_is_404(stored: Stored, url: str) -> None:
    stored.replace(None)
    response = get(url)
    assert (response.status_code, response.json()["code"]) == (404, "video_missing")
    assert requests.head(url, timeout=60).status_code == 404


def test_a_stored_video_that_is_too_short_is_not_sent(stored: Stored, url: str, video: bytes) -> None:
    stored.replace(video[:-1])
    for asked in ({}, {"Range": "bytes=5-"}, {"Range": f"bytes={SIZE - 1}-"}):
        response = get(url, **asked)
        assert (response.status_code, response.json()["code"]) == (503, "storage_unavailable")
    assert get(url, Range="bytes=0-4").content == video[:5]
    assert "unexpected" not in stored.web.service.log("web")


def test_a_file_that_becomes_shorter_while_it_is_sent_breaks_off(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(600_000))
    part = FileRange(os.open(path, os.O_RDONLY), 0, 600_000)
    blocks = iter(part)
    assert len(next(blocks)) == 256 * 1024
    os.truncate(path, 300_000)
    with pytest.raises(StorageUnavailableError):
        list(blocks)
    part.close()
    part.close()
