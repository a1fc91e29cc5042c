"""The storages of the harness: a folder, or an S3 server behind a proxy of its own."""

from __future__ import annotations

import os
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol
from unittest import mock

from tests.support.s3_server import BUCKET, S3Server, age, s3_server
from tests.support.tcp_proxy import TcpProxy
from videoqueue.storage import ObjectStorage, open_storage

STORAGES = ("folder", "s3")


class ChaosStorage(Protocol):
    """What the harness needs besides the service's own interface, `objects`."""

    objects: ObjectStorage
    #: The settings of the service.
    environ: dict[str, str]

    @property
    def proxy(self) -> TcpProxy | None:
        """Between the service and the storage; None before a folder."""
        ...

    def stored(self) -> set[str]:
        """The keys of all objects, and the names of all unfinished ones."""
        ...

    def put(self, key: str, content: bytes) -> None:
        """Stores an object."""

    def make_old(self, key: str) -> None:
        """Makes an object look as if it was written long ago."""


def _put(objects: ObjectStorage, key: str, content: bytes) -> None:
    with objects.open_writer(key) as writer:
        writer.write(content)
        writer.commit()


class FolderOfObjects:
    """A folder that the service uses without a proxy."""

    proxy = None

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        url = f"file://{folder}"
        self.environ = {"VIDEOQUEUE_STORAGE_URL": url}
        self.objects = open_storage(url, folder)

    def stored(self) -> set[str]:
        return {str(file.relative_to(self._folder)) for file in self._folder.rglob("*") if file.is_file()}

    def put(self, key: str, content: bytes) -> None:
        _put(self.objects, key, content)

    def make_old(self, key: str) -> None:
        os.utime(self._folder / key, (0, 0))


class BucketOfObjects:
    """A prefix of a bucket. The service reaches the server through the proxy, the harness directly."""

    def __init__(self, close: ExitStack) -> None:
        self._server: S3Server = close.enter_context(s3_server())
        close.enter_context(mock.patch.dict(os.environ, self._server.environ))
        host, port = self._server.url.removeprefix("http://").split(":")
        self.proxy = close.enter_context(TcpProxy((host, int(port))))
        self._prefix = uuid.uuid4().hex
        url = f"s3://{BUCKET}/{self._prefix}"
        self.environ = self._server.environ | {
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{self.proxy.port}",
            "VIDEOQUEUE_STORAGE_URL": url,
        }
        self.objects = open_storage(url, Path("unused"))

    def stored(self) -> set[str]:
        client, prefix = self._server.client, f"{self._prefix}/"
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        unfinished = client.list_multipart_uploads(Bucket=BUCKET, Prefix=prefix).get("Uploads", [])
        keys += [f"{upload['Key']} (unfinished)" for upload in unfinished]
        return {key.removeprefix(prefix) for key in keys}

    def put(self, key: str, content: bytes) -> None:
        _put(self.objects, key, content)

    def make_old(self, key: str) -> None:
        age(BUCKET, f"{self._prefix}/{key}", 10 * 365 * 86_400)


def chaos_storage(kind: str, folder: Path, close: ExitStack) -> ChaosStorage:
    """The storage of that kind, "folder" or "s3"; what it starts ends with `close`."""
    return FolderOfObjects(folder) if kind == "folder" else BucketOfObjects(close)
