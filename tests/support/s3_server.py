"""A real S3 endpoint for tests: moto's server on 127.0.0.1, in a thread, with a bucket in it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from mypy_boto3_s3 import S3Client

BUCKET = "videos"


@dataclass(frozen=True)
class S3Server:
    """`environ` is what a process needs besides VIDEOQUEUE_STORAGE_URL=s3://videos/PREFIX."""

    url: str

    @property
    def environ(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    @cached_property
    def client(self) -> S3Client:
        """A client of its own, so that a test can look behind the code under test."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            config=Config(s3={"addressing_style": "path"}),
        )


class PrefixRights:
    """Refuses, as AWS does, what a policy refuses that grants rights below one prefix of the bucket.

    The policy is that of docs/deploying.md. A missing object is refused as well: only who may list the whole
    bucket is told that it is missing (GetObject in the API reference of S3).
    """

    def __init__(self, app: WSGIApplication, prefix: str, *, unfinished: bool = True) -> None:
        self._app, self._prefix, self._unfinished = app, prefix, unfinished

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        _, _, key = request.path.lstrip("/").partition("/")
        if not (self._may_use(key) if key else self._may_ask(request)):
            return self._refuse(environ, start_response)
        answer = Response.from_app(self._app, environ)
        hidden = key and answer.status_code == 404
        return (self._refuse if hidden else answer)(environ, start_response)

    def _may_use(self, key: str) -> bool:
        return key.startswith(self._prefix)

    def _may_ask(self, request: Request) -> bool:
        if request.method != "GET" or not request.args.get("prefix", "").startswith(self._prefix):
            return False
        return "list-type" in request.args or (self._unfinished and "uploads" in request.args)

    def _refuse(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        return Response(body, 403, mimetype="application/xml")(environ, start_response)


@contextmanager
def guarded(prefix: str, *, unfinished: bool = True) -> Iterator[S3Server]:
    """The same objects as every server of this process, by a user with rights below `prefix` only.

    `unfinished`: whether the user may list and end unfinished uploads.
    """
    with serving(PrefixRights(objects(), prefix, unfinished=unfinished)) as server:
        yield server


def objects() -> DomainDispatcherApplication:
    """Returns the application of moto's server; all of them in a process hold the same objects."""
    return DomainDispatcherApplication(create_backend_app)


class _QuietHandler(WSGIRequestHandler):
    """Logs no request, and no connection that an application broke off."""

    def log(self, type: str, message: str, *args: object) -> None:
        pass


@contextmanager
def serving(app: WSGIApplication) -> Iterator[S3Server]:
    """Serves an application, such as one in front of `objects()`, as long as the `with` lasts."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_QuietHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield S3Server(f"http://127.0.0.1:{server.port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def s3_server(bucket: str = BUCKET) -> Iterator[S3Server]:
    """Runs the server for as long as the `with` lasts; all servers of a process hold the same objects."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else a line for every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        running = S3Server(f"http://{host}:{port}")
        running.client.create_bucket(Bucket=bucket)
        yield running
        running.client.close()
    finally:
        server.stop()


def age(bucket: str, name: str, seconds: float) -> None:
    """Makes an object look as if last written so long ago; S3 itself has no call for that."""
    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    backend.buckets[bucket].keys[name].last_modified -= timedelta(seconds=seconds)
