"""What `videoqueue doctor` finds in a real folder, and in an S3 that refuses or has another time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from werkzeug.http import http_date
from werkzeug.serving import WSGIRequestHandler
from werkzeug.wrappers import Request, Response

from tests.support.examined import files_below, finding
from tests.support.s3_server import BUCKET, S3Server, guarded, objects, s3_server, serving
from tests.support.stack import free_port
from videoqueue.cli.doctor.findings import Finding

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


class Examine:
    """Checks the storage with the AWS variables of a server."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __call__(self, server: S3Server, url: str = f"s3://{BUCKET}/pre", **changes: str) -> Finding:
        for name, value in (server.environ | changes).items():
            self._monkeypatch.setenv(name, value)
        return finding("storage", {**os.environ, "VIDEOQUEUE_STORAGE_URL": url})


@pytest.fixture
def s3_finding(monkeypatch: pytest.MonkeyPatch) -> Examine:
    return Examine(monkeypatch)


def test_rights_below_the_prefix_suffice_and_nothing_is_left(s3: S3Server, s3_finding: Examine) -> None:
    with guarded("pre/") as server:
        found = s3_finding(server)
    assert (found.status, found.message) == (
        "ok",
        "Videos can be stored, read, listed and deleted in S3.",
    )
    assert "Contents" not in s3.client.list_objects_v2(Bucket=BUCKET, Prefix="pre/")


def test_rights_that_are_missing(s3: S3Server, s3_finding: Examine) -> None:
    with guarded("other/") as server:
        found = s3_finding(server)
    assert found.status == "failed"
    assert "AccessDenied (PutObject, HTTP 403)" in found.message
    assert "AccessDenied (ListObjectsV2, HTTP 403)" in found.message
    assert found.remedy == "Grant the user the rights that the page lists."
    with guarded("pre/", unfinished=False) as server:
        unfinished = s3_finding(server)
    assert unfinished.status == "warning"
    assert "s3:ListBucketMultipartUploads" in unfinished.remedy


class Refusing:
    """Refuses some methods with an error code of S3."""

    def __init__(self, app: WSGIApplication, methods: str, code: str) -> None:
        self._app, self._methods, self._code = app, methods.split(), code

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if Request(environ).method not in self._methods:
            return self._app(environ, start_response)
        response = Response(f"<Error><Code>{self._code}</Code></Error>", 403, mimetype="application/xml")
        return response(environ, start_response)


@pytest.mark.parametrize(
    ("methods", "code", "steps", "remedy"),
    [
        ("PUT", "AccessDenied", ["store: "], "Grant the user"),
        ("DELETE", "AccessDenied", ["delete: "], "Grant the user"),
        ("PUT GET DELETE", "RequestTimeTooSkewed", ["store: ", "list: "], "Set the clock"),
        ("PUT GET DELETE", "InvalidAccessKeyId", ["store: "], "Correct AWS_ACCESS_KEY_ID"),
    ],
)
def test_each_step_that_s3_refuses_is_named(
    s3: S3Server, s3_finding: Examine, methods: str, code: str, steps: list[str], remedy: str
) -> None:
    with serving(Refusing(objects(), methods, code)) as server:
        found = s3_finding(server)
    assert found.status == "failed"
    assert [step for step in steps if step not in found.message] == []
    assert code in found.message
    assert found.remedy.startswith(remedy)
    for entry in s3.client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        s3.client.delete_object(Bucket=BUCKET, Key=entry["Key"])


@pytest.mark.parametrize(("ahead", "says"), [(300, "behind that of S3"), (-300, "ahead of that of S3")])
def test_a_clock_that_differs_from_that_of_s3(
    s3: S3Server, s3_finding: Examine, ahead: float, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = datetime.now(UTC) + timedelta(seconds=ahead)
    monkeypatch.setattr(WSGIRequestHandler, "date_time_string", lambda *_: http_date(time))
    found = s3_finding(s3)
    assert says in found.message
    assert found.status == "warning"


def test_a_bucket_that_is_missing_and_a_server_that_is_away(s3: S3Server, s3_finding: Examine) -> None:
    missing = s3_finding(s3, "s3://nothing-here/pre")
    assert "NoSuchBucket" in missing.message
    assert missing.remedy.startswith("Create the bucket")
    away = s3_finding(S3Server(f"http://127.0.0.1:{free_port()}"), AWS_MAX_ATTEMPTS="1")
    assert away.status == "failed"
    assert away.remedy.startswith("Correct AWS_ENDPOINT_URL_S3")


def folder(path: Path) -> Finding:
    return finding("storage", {"VIDEOQUEUE_STORAGE_URL": f"file://{path}"})


def test_a_folder_in_order_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "inputs").mkdir()
    (tmp_path / "inputs" / "video.mp4").write_bytes(b"a video")
    before = files_below(tmp_path)
    assert folder(tmp_path).status == "ok"
    assert files_below(tmp_path) == before


def test_a_folder_that_is_missing_or_of_another_user_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = folder(tmp_path / "missing")
    assert (missing.status, "does not exist yet" in missing.message) == ("warning", True)
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    assert "belongs to another user" in folder(tmp_path).message
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "inputs").write_text("no folder")
    found = folder(tmp_path)
    assert found.status == "failed"
    assert "store: " in found.message
    assert found.remedy.startswith("Mount the volume")


def test_videos_in_a_folder_of_this_machine_beside_a_shared_database() -> None:
    found = finding("storage", {"DATABASE_URL": "postgresql://u:sesame@h/d"})
    assert found.status == "failed"
    assert found.message.startswith("VIDEOQUEUE_STORAGE_URL is not set")
