"""Runs compose.yaml with the container engine of this machine, and submits the sample."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PROJECT = "videoqueue-check"


@contextmanager
def composed(top: Path) -> Iterator[tuple[str, str]]:
    """Builds the image and starts all services. Yields the URL and a key; removes everything at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    environ = os.environ | {"PORT": port, "POSTGRES_PASSWORD": secrets.token_hex(24)}

    def compose(*arguments: str) -> str:
        command = ["docker", "compose", "--project-name", _PROJECT, *arguments]
        return subprocess.run(
            command, cwd=top, env=environ, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    try:
        compose("up", "--build", "--detach", "--wait")
        key = compose("exec", "-T", "web", "videoqueue", "keys", "create", "--owner", "check").split()[0]
        print(compose("exec", "-T", "worker", "videoqueue", "doctor"), flush=True)
        yield f"http://127.0.0.1:{port}", key
    except BaseException:
        print(compose("logs", "--tail", "50"), flush=True)
        raise
    finally:
        compose("down", "--volumes", "--timeout", "35")


def has_engine() -> bool:
    """Returns whether a container engine with compose can be used."""
    try:
        for command in (["docker", "info"], ["docker", "compose", "version"]):
            subprocess.run(command, check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return False
    return True
