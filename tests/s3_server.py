"""A real S3 endpoint for tests: moto's server on 127.0.0.1, in a thread, with a bucket in it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

import boto3
from botocore.config import Config
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

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
    def client(self):
        """A client of its own, so that a test can look behind the code under test."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            config=Config(s3={"addressing_style": "path"}),
        )


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
