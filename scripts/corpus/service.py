"""A service of its own for a check: `videoqueue up` in a temporary folder; with the brightness plugin for
the check of a corpus."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import requests

from corpus.brightness import PIPELINE

_START_SECONDS = 120


@contextmanager
def own_service() -> Iterator[str]:
    """Yields its URL; ends it, and removes everything, afterwards."""
    with tempfile.TemporaryDirectory(prefix="check-corpus-") as name:
        folder = Path(name)
        with started(folder / "service", _prepare(folder)) as url:
            yield url


@contextmanager
def started(folder: Path, settings: Mapping[str, str]) -> Iterator[str]:
    """Runs `videoqueue up` on a free port, with its data in a new folder; yields its URL."""
    folder.mkdir()
    port, log = free_port(), folder / "service.log"
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-P", "-m", "videoqueue", "up", "--port", str(port)]
    command += ["--data-dir", str(folder / "data")]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env={**os.environ, **settings}, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        _wait_until_ready(process, url, log)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _prepare(folder: Path) -> dict[str, str]:
    """Installs the plugin and its pipeline in the folder; returns the settings with which they are found."""
    information = folder / "packages" / "brightness-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: brightness\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        "[videoqueue.plugins]\nbrightness = corpus.brightness:Brightness\n"
    )
    pipelines = folder / "pipelines"
    pipelines.mkdir()
    (pipelines / "brightness.json").write_text(json.dumps(PIPELINE))
    path = os.pathsep.join((str(folder / "packages"), str(Path(__file__).resolve().parents[1])))
    return {
        "PYTHONPATH": path,
        "VIDEOQUEUE_PIPELINES_DIR": str(pipelines),
        "VIDEOQUEUE_HOST": "127.0.0.1",
    }


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if requests.get(f"{url}/healthz", timeout=2).ok:
                return
        except requests.RequestException:
            pass
        time.sleep(0.2)
    sys.exit(f"The service did not start.\n{log.read_text()[-2000:]}")


def free_port() -> int:
    """Returns a port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
