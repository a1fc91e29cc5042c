"""Downloads whose connection breaks, whose object changes, and whose copy is somebody else's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from werkzeug.wrappers import Response

from tests.support.s3_server import BUCKET, S3Server, objects, serving
from videoqueue.errors import StorageUnavailableError
from videoqueue.storage import ObjectStorage, open_storage

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

KEY = "inputs/0123456789abcdef0123456789abcdef.mp4"
NAME = f"here/{KEY}"
MIB = 1024**2
VIDEO = bytes(range(256)) * (5 * MIB // 256)
OTHER = bytes(reversed(VIDEO))


class ConnectionBreaksError(Exception):
    """Ends a response in the middle."""


@dataclass
class BreakingServer:
    """A real S3 server that breaks off after so many bytes of each response to GetObject, in turn.

    `ignores_ranges`: it sends the whole object, whatever part was asked for.
    """

    pieces: list[int] = field(default_factory=list)
    ignores_ranges: bool = False
    on_break: Callable[[], object] = lambda: None
    ranges: list[str] = field(default_factory=list)
    _app: WSGIApplication = field(default_factory=objects)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "GET" or NAME not in environ["PATH_INFO"]:
            return self._app(environ, start_response)
        self.ranges.append(environ.get("HTTP_RANGE", ""))
        if self.ignores_ranges:
            environ.pop("HTTP_RANGE", None)
        response = Response.from_app(self._app, environ)
        if self.pieces and response.status_code in (200, 206):
            response.response = self._broken(response.get_data(), self.pieces.pop(0))
        return response(environ, start_response)

    def _broken(self, body: bytes, count: int) -> Iterator[bytes]:
        yield body[:count]
        self.on_break()
        raise ConnectionBreaksError


@pytest.fixture
def server() -> BreakingServer:
    return BreakingServer()


@pytest.fixture
def s3(server: BreakingServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with serving(server) as running:
        for name, value in running.environ.items():
            monkeypatch.setenv(name, value)
        running.client.create_bucket(Bucket=BUCKET)
        running.client.put_object(Bucket=BUCKET, Key=NAME, Body=VIDEO)
        yield running


@pytest.fixture
def storage(s3: S3Server, tmp_path: Path) -> ObjectStorage:
    return open_storage(f"s3://{BUCKET}/here", tmp_path)


def unchecked() -> None:
    """The check of a download that nothing ends."""


def test_a_download_goes_on_where_its_connection_broke(
    storage: ObjectStorage, server: BreakingServer, tmp_path: Path
) -> None:
    server.pieces = [2 * MIB, MIB, 1]
    digest = storage.download(KEY, tmp_path / "copy", unchecked)
    assert (tmp_path / "copy").read_bytes() == VIDEO
    assert digest == hashlib.sha256(VIDEO).hexdigest()
    starts = [int(asked.removeprefix("bytes=").partition("-")[0]) for asked in server.ranges[1:]]
    assert server.ranges[0] == ""
    assert len(starts) == 3
    assert starts == sorted(starts)
    assert starts[0] > 0


def test_connections_that_break_without_a_byte_end_the_download_and_leave_no_file(
    storage: ObjectStorage, server: BreakingServer, tmp_path: Path
) -> None:
    server.pieces = [MIB] + [0] * 100
    with pytest.raises(StorageUnavailableError):
        storage.download(KEY, tmp_path / "copy", unchecked)
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("replacement", [OTHER, VIDEO[: 3 * MIB]])
def test_an_object_that_is_replaced_meanwhile_is_not_mixed_with_the_old_one(
    storage: ObjectStorage, server: BreakingServer, s3: S3Server, tmp_path: Path, replacement: bytes
) -> None:
    server.pieces = [2 * MIB]
    server.on_break = lambda: s3.client.put_object(Bucket=BUCKET, Key=NAME, Body=replacement)
    with pytest.raises(StorageUnavailableError):
        storage.download(KEY, tmp_path / "copy", unchecked)
    assert not (tmp_path / "copy").exists()
    storage.download(KEY, tmp_path / "copy", unchecked)
    assert (tmp_path / "copy").read_bytes() == replacement


def test_a_server_that_ignores_ranges_spoils_no_copy(
    storage: ObjectStorage, server: BreakingServer, tmp_path: Path
) -> None:
    server.pieces = [2 * MIB]
    server.ignores_ranges = True
    with pytest.raises(StorageUnavailableError):
        storage.download(KEY, tmp_path / "copy", unchecked)
    assert not (tmp_path / "copy").exists()


def test_an_empty_object_is_an_empty_copy(storage: ObjectStorage, s3: S3Server, tmp_path: Path) -> None:
    s3.client.put_object(Bucket=BUCKET, Key=NAME, Body=b"")
    assert storage.download(KEY, tmp_path / "copy", unchecked) == hashlib.sha256().hexdigest()
    assert (tmp_path / "copy").read_bytes() == b""


@pytest.fixture(params=["folder", "s3"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStorage:
    if request.param == "s3":
        storage: ObjectStorage = request.getfixturevalue("storage")
        return storage
    folder = open_storage("", tmp_path / "objects")
    with folder.open_writer(KEY) as writer:
        writer.write(VIDEO)
        writer.commit()
    return folder


def test_a_link_at_the_place_of_the_copy_is_not_followed(either: ObjectStorage, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "copy").symlink_to(victim)
    with pytest.raises(StorageUnavailableError):
        either.download(KEY, tmp_path / "copy", unchecked)
    assert victim.read_bytes() == b"precious"


def test_a_file_that_is_there_already_is_not_written_over(either: ObjectStorage, tmp_path: Path) -> None:
    (tmp_path / "copy").write_bytes(b"precious")
    with pytest.raises(StorageUnavailableError):
        either.download(KEY, tmp_path / "copy", unchecked)
    assert (tmp_path / "copy").read_bytes() == b"precious"


def test_what_the_check_raises_ends_the_download_and_leaves_no_file(
    either: ObjectStorage, tmp_path: Path
) -> None:
    checks = iter([None, None])

    def check() -> None:
        if next(checks, "stop") is not None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        either.download(KEY, tmp_path / "copy", check)
    assert not (tmp_path / "copy").exists()
