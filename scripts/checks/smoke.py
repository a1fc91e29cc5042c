"""Starts the whole service in a temporary folder, runs scripts/smoke_test against it, stops it again.

Usage: scripts/validate smoke [options of scripts/smoke_test]
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120
STOP_SECONDS = 60


def main() -> None:
    if {"-h", "--help"} & set(sys.argv):
        print((__doc__ or "").strip())
        return
    with tempfile.TemporaryDirectory(prefix="vq-") as name:
        folder = Path(name)
        url = f"http://127.0.0.1:{(port := free_port())}"
        log = folder / "up.log"
        with log.open("wb") as output:
            up = subprocess.Popen(
                [sys.executable, "-P", "-m", "videoqueue", "up", "--port", str(port), "--data-dir", name],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until_up(up, url)
            smoke_test = [sys.executable, str(ROOT / "scripts" / "smoke_test"), url, *sys.argv[1:]]
            passed = subprocess.run(smoke_test, check=False).returncode == 0
        finally:
            up.send_signal(signal.SIGTERM)
            ended = up.wait(STOP_SECONDS)
        if not passed or ended != 0:
            sys.exit(
                f"smoke: passed {passed}, `videoqueue up` ended with {ended}. Its log:\n{log.read_text()}"
            )


def wait_until_up(up: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while up.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
