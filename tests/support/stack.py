"""Real web and worker processes for the system tests, started by the Procfile's own lines."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import psutil
import requests
import sqlalchemy as sa

from tests.support.databases import migrate, write_tables

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
SMOKE_TEST = ROOT / "scripts" / "smoke_test"


def eventually(
    condition: Callable[[], T | Literal[False] | None], what: str = "the expected state", seconds: float = 60
) -> T:
    """Polls a condition of another process, which has no event to wait on. Returns its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)
    return value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def folder_of_another_user(folder: Path) -> Path:
    """Returns a folder that does not belong to the user of this process."""
    if os.geteuid() != 0:
        return Path("/tmp")
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    return folder


def procfile(root: Path = ROOT) -> dict[str, str]:
    lines = (root / "Procfile").read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines)


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This environment with the virtual environment's commands first, and the settings given."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", **settings}


class Service:
    """The Procfile's release, web and worker, as a platform would run them.

    In `cwd`; web and worker behind `prelude` in their shell. The Procfile is that of `root`.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str],
        cwd: Path = ROOT,
        prelude: str = "",
        root: Path = ROOT,
    ) -> None:
        port = settings.get("PORT") or str(free_port())
        self.url = f"http://127.0.0.1:{port}"
        self.folder = folder
        self._cwd = cwd
        self.prelude = prelude
        self.commands = procfile(root)
        self._environ = environment(
            {"PORT": port, "VIDEOQUEUE_HOST": "127.0.0.1", "VIDEOQUEUE_DATA_DIR": str(folder)}
            | dict(settings)
        )
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        self.make_tables()
        for name in ("web", "worker"):
            self.start_process(name)
        eventually(
            lambda: self.answers() and "Worker ready." in self.log("worker"), "web and worker are ready"
        )

    def make_tables(self) -> None:
        """As a release does, without its process. An SQLite file is copied from one migrated before."""
        self.folder.mkdir(exist_ok=True)
        if url := self._environ.get("DATABASE_URL"):
            migrate(sa.make_url(url))
        elif not (self.folder / "videoqueue.db").exists():
            write_tables(self.folder / "videoqueue.db")

    def release(self) -> None:
        self.folder.mkdir(exist_ok=True)
        subprocess.run(
            ["bash", "-c", self.commands["release"]],
            env=self._environ,
            cwd=self._cwd,
            check=True,
            capture_output=True,
        )

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """A command of the operator, with the service's settings."""
        return subprocess.run(
            command, env=self._environ, cwd=self._cwd, capture_output=True, text=True, check=False
        )

    def start_process(self, name: str, changes: Mapping[str, str] | None = None) -> None:
        """`changes` are settings that this start has beside or instead of the service's."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                ["bash", "-c", self.prelude + self.commands[name]],
                env=self._environ | dict(changes or {}),
                cwd=self._cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/healthz", timeout=1).ok
        except requests.RequestException:
            return False

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def wait_for_end(self, name: str) -> None:
        """Until the process has ended by itself."""
        self._processes[name].wait(30)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def stop(self, *names: str) -> None:
        """TERM to every process of those named, or of both, as Heroku does; then nothing may be left."""
        leaders = [self._processes[name] for name in names or self._processes]
        running = [leader for leader in leaders if leader.poll() is None]
        processes = [member for leader in running for member in family(leader.pid)]
        for leader in running:
            os.killpg(leader.pid, signal.SIGTERM)
        for leader in running:
            leader.wait(30)
        wait_until_gone(processes)


def family(pid: int) -> list[psutil.Process]:
    """The process and all below it."""
    leader = psutil.Process(pid)
    return [leader, *leader.children(recursive=True)]


def wait_until_gone(processes: list[psutil.Process], seconds: float = 20) -> None:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    assert alive == [], f"still running: {alive}"


def submit(url: str, video: Path, **parameters: object) -> str:
    with video.open("rb") as stream:
        answer = requests.post(f"{url}/video/submit", files={"file": stream}, data=parameters, timeout=30)
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["job_id"]
    return job_id


def status(url: str, job_id: str) -> dict[str, Any]:
    answer = requests.get(f"{url}/video/status/{job_id}", timeout=10)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def wait_for(url: str, job_id: str, *states: str, seconds: float = 90) -> dict[str, Any]:
    eventually(lambda: status(url, job_id)["status"] in states, f"{job_id} is {' or '.join(states)}", seconds)
    return status(url, job_id)


def results(url: str, job_id: str) -> list[dict[str, Any]]:
    answer = requests.get(f"{url}/video/results/{job_id}", timeout=10)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["results"]
    return found
