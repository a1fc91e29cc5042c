"""The storages that tests use, each with a look behind it."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
from botocore.exceptions import ClientError

from tests.support import s3_server
from videoqueue.storage import ObjectStorage, open_storage
from videoqueue.storage.s3 import S3Storage

KEY = "inputs/0123456789abcdef0123456789abcdef.mp4"
HOUR = 3600.0
MIB = 1024**2


class Folder:
    """A storage in a folder, and a look behind it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.storage = open_storage("", root)

    def left(self) -> list[str]:
        """Everything that is there, finished or not."""
        return sorted(
            path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file()
        )

    def age(self, key: str, seconds: float) -> None:
        then = time.time() - seconds
        os.utime(self.root / key, (then, then))

    def leave_unfinished(self) -> None:
        """What a killed writer leaves."""
        self.storage.open_writer(KEY).__enter__().write(b"half")

    def make_unusable(self) -> None:
        self.root.rename(self.root.with_name("moved"))
        self.root.write_bytes(b"no folder")


def refusal(code: str, status: int, operation: str) -> ClientError:
    """The error that boto3 raises for such a response of S3."""
    return ClientError(
        {
            "Error": {"Code": code},
            "ResponseMetadata": {
                "HTTPStatusCode": status,
                "HTTPHeaders": {},
                "RequestId": "",
                "HostId": "",
                "RetryAttempts": 0,
            },
        },
        operation,
    )


def open_bucket(url: str) -> S3Storage:
    storage = open_storage(url, Path("unused"))
    assert isinstance(storage, S3Storage)
    return storage


class Bucket:
    """A storage below a prefix of a bucket, and a look behind it."""

    def __init__(self, server: s3_server.S3Server, prefix: str | None = None) -> None:
        self.client = server.client
        self.prefix = prefix or f"test/{uuid.uuid4().hex}"
        self.storage = open_bucket(f"s3://{s3_server.BUCKET}/{self.prefix}")

    def left(self) -> list[str]:
        bucket, below = s3_server.BUCKET, f"{self.prefix}/"
        objects = self.client.list_objects_v2(Bucket=bucket, Prefix=below).get("Contents", [])
        uploads = self.client.list_multipart_uploads(Bucket=bucket, Prefix=below).get("Uploads", [])
        return sorted(entry["Key"].removeprefix(below) for entry in [*objects, *uploads])

    def age(self, key: str, seconds: float) -> None:
        s3_server.age(s3_server.BUCKET, f"{self.prefix}/{key}", seconds)

    def leave_unfinished(self) -> None:
        self.client.create_multipart_upload(Bucket=s3_server.BUCKET, Key=f"{self.prefix}/{KEY}")

    def make_unusable(self) -> None:
        self.storage = open_bucket(f"s3://no-such-bucket/{self.prefix}")


Place: TypeAlias = Folder | Bucket


@pytest.fixture(scope="module")
def server() -> Iterator[s3_server.S3Server]:
    with s3_server.s3_server() as running:
        yield running


@pytest.fixture(params=["folder", "s3", "s3 with rights below the prefix only"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return Folder(tmp_path / "objects")
    bucket: Bucket = request.getfixturevalue("bucket" if request.param == "s3" else "rightless")
    return bucket


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "objects")


@pytest.fixture
def bucket(server: s3_server.S3Server, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)
    return Bucket(server)


@pytest.fixture
def rightless(server: s3_server.S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A bucket in which the user has rights below the prefix only."""
    with in_rightless(server, monkeypatch) as bucket:
        yield bucket


@contextmanager
def in_rightless(
    server: s3_server.S3Server, monkeypatch: pytest.MonkeyPatch, **rights: bool
) -> Iterator[Bucket]:
    prefix = f"test/{uuid.uuid4().hex}"
    with s3_server.guarded(f"{prefix}/", **rights) as guarded:
        for name, value in guarded.environ.items():
            monkeypatch.setenv(name, value)
        yield Bucket(server, prefix)


def put(storage: ObjectStorage, key: str, data: bytes, piece: int = 64 * 1024) -> None:
    with storage.open_writer(key) as writer:
        for start in range(0, len(data), piece):
            writer.write(memoryview(data)[start : start + piece])
        writer.commit()


def get(storage: ObjectStorage, key: str, tmp_path: Path) -> bytes:
    path = tmp_path / uuid.uuid4().hex
    digest = storage.download(key, path, unchecked)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    return path.read_bytes()


def unchecked() -> None:
    """The check of a download that nothing ends."""
