"""Credentials of S3 that are handed out by a service of the machine or container, which is away at first."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.s3_server import BUCKET, s3_server
from tests.support.stack import free_port
from videoqueue.causes import cause_of
from videoqueue.errors import StorageUnavailableError
from videoqueue.storage import open_storage

HANDED_OUT = {
    "Code": "Success",
    "AccessKeyId": "testing",
    "SecretAccessKey": "testing",
    "Token": "testing",
    "RoleArn": "arn",
    "Expiration": "2999-01-01T00:00:00Z",
}


class Service(http.server.BaseHTTPRequestHandler):
    """What botocore asks of an EC2 instance (a token, the role, its credentials), and of a container."""

    def do_GET(self) -> None:
        self._say("role" if self.path.endswith("/security-credentials/") else json.dumps(HANDED_OUT))

    def do_PUT(self) -> None:
        self._say("token")

    def _say(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def credentials_service(port: int) -> Iterator[None]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Service) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("name", "path", "without"),
    [
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "", "NoCredentialsError: Unable to locate credentials"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/credentials", "CredentialRetrievalError: Error when"),
    ],
    ids=["machine", "container"],
)
def test_credentials_that_come_after_the_start_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, path: str, without: str
) -> None:
    port = free_port()
    with s3_server() as s3:
        for key, value in s3.environ.items():
            monkeypatch.setenv(key, value)
        for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"):
            monkeypatch.delenv(key)
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}{path}")
        storage = open_storage(f"s3://{BUCKET}/late", tmp_path)
        for use in (storage.check, lambda: storage.open_writer("inputs/x.mp4").__enter__().commit()):
            with pytest.raises(StorageUnavailableError) as caught:
                use()
            assert cause_of(caught.value).startswith(without)
        with credentials_service(port):
            storage.check()
        storage.check()  # what was handed out holds, also while the service is away again
