"""Runs the service of an image, and submits the sample with curl."""

from __future__ import annotations

import hashlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from container.build import Image

_START_SECONDS = 180
_JOB_SECONDS = 900
_STOP_SECONDS = 35


def expected_etag(sample: Path) -> str:
    """Returns the ETag that this checkout's pipeline leads to: the SHA-256 of the results array."""
    command = [sys.executable, "-P", "-m", "videoqueue.cli", "process", str(sample), "--format", "jsonl"]
    items = subprocess.run(command, check=True, capture_output=True).stdout.splitlines()
    return hashlib.sha256(b"[" + b",".join(items) + b"]").hexdigest()


@contextmanager
def running(image: Image) -> Iterator[str]:
    """Runs the image's own command as process 1. Yields the URL, when its health check passes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = image.root.command([*image.entrypoint, *image.command], {"PORT": port}, is_service=True)
    # The variable is that of a client behind a proxy. The check must not use it.
    health_check = image.root.command(image.health_check, {"PORT": port, "http_proxy": "http://127.0.0.1:9"})

    def is_healthy() -> bool:
        return subprocess.run(health_check, capture_output=True).returncode == 0

    service = subprocess.Popen(command)
    try:
        _wait(is_healthy, _START_SECONDS, "health")
        yield f"http://127.0.0.1:{port}"
        _stop(service)
        if is_healthy():
            raise SystemExit("check_container: the health check passes without the service")
    finally:
        service.kill()
        service.wait()


def _stop(service: subprocess.Popen[bytes]) -> None:
    """Sends SIGTERM to process 1, as an engine does, and waits until everything has ended."""
    (first,) = children(service.pid)
    started = time.monotonic()
    subprocess.run(["kill", f"-{signal.SIGTERM.value}", str(first)], check=True)
    service.wait(_STOP_SECONDS)
    print(f"check_container: ended {time.monotonic() - started:.1f} s after SIGTERM", flush=True)


def children(pid: int) -> list[int]:
    """Returns the processes that a process has started."""
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def submit(url: str, key: str, sample: Path) -> str:
    """Submits the sample with curl. Returns the id of its job."""
    return str(json.loads(_curl(key, "--form", f"file=@{sample}", f"{url}/video/submit"))["job_id"])


def wait_for(url: str, key: str, job_id: str, *wanted: str) -> None:
    """Waits until a job has a wanted status.

    Raises:
        SystemExit: the job fails, or has no such status in time.
    """
    state: dict[str, Any] = {}

    def is_reached() -> bool:
        state.update(json.loads(_curl(key, f"{url}/video/status/{job_id}")))
        return state["status"] in (*wanted, "failed")

    _wait(is_reached, _JOB_SECONDS, "the job")
    if state["status"] == "failed":
        raise SystemExit(f"check_container: the job failed: {state['error_message']}")


def etag_of(url: str, key: str, job_id: str) -> str:
    """Waits for the results of a job. Returns their ETag.

    Raises:
        SystemExit: the job fails.
    """
    wait_for(url, key, job_id, "completed")
    head = _curl(key, "--head", f"{url}/video/results/{job_id}").decode()
    return next(line.split('"')[1] for line in head.splitlines() if line.lower().startswith("etag:"))


def _curl(key: str, *arguments: str) -> bytes:
    options = ["--silent", "--show-error", "--fail-with-body", "--noproxy", "*", "--header", "@-"]
    command = ["curl", *options, *arguments]
    header = f"Authorization: Bearer {key}\n".encode()
    return subprocess.run(command, input=header, stdout=subprocess.PIPE, check=True).stdout


def _wait(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"check_container: not within {seconds:g} s: {what}")
        time.sleep(0.5)
