"""What other users of the machine, and other processes of the same user, can see of the service."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.chaos.processes import is_child
from tests.support.stack import (
    Service,
    environment,
    eventually,
    family,
    free_port,
    submit,
    wait_for,
    wait_until_gone,
)
from tests.support.videos import make_video

SECRET = "planted-secret-of-the-storage"
SETTINGS = {"AWS_SECRET_ACCESS_KEY": SECRET}

#: Runs a program without any capability, as an ordinary user's processes are: root could read everything.
ORDINARY = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS: execve gives nothing back
header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
assert libc.capset(header, sets) == 0
os.umask(0o022)
os.execvp(sys.argv[1], sys.argv[1:])
"""
#: Says of each process what of it can be read.
SPY = """
import json, os, sys
def reads(read):
    try:
        return read()
    except OSError:
        return None
found = {}
for pid in sys.argv[1:]:
    folder = f"/proc/{pid}"
    found[pid] = {
        "environ": reads(lambda: open(f"{folder}/environ", "rb").read().decode(errors="replace")),
        "mem": reads(lambda: bool(os.close(os.open(f"{folder}/mem", os.O_RDONLY))) or True),
        "fd": reads(lambda: os.readlink(f"{folder}/fd/2")),
    }
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    script = tmp_path_factory.mktemp("ordinary") / "ordinary.py"
    script.write_text(ORDINARY)
    return script


def spied(ordinary: Path, processes: list[psutil.Process]) -> dict[int, dict[str, str | None]]:
    pids = [str(process.pid) for process in processes]
    spy = subprocess.run(
        [sys.executable, ordinary, sys.executable, "-c", SPY, *pids],
        env=environment({}),
        capture_output=True,
        text=True,
        check=True,
    )
    return {int(pid): found for pid, found in json.loads(spy.stdout).items()}


def require_closed(ordinary: Path, processes: list[psutil.Process], count: int) -> None:
    """Of gunicorn, Dramatiq and `up`, `count` processes, nothing can be read; of no process the secret."""
    seen = spied(ordinary, processes)
    holders = [process for process in processes if not is_child(process) and _holds_keys(process)]
    assert len(holders) == count
    assert {pid: seen[pid] for pid in (process.pid for process in holders)} == {
        process.pid: {"environ": None, "mem": None, "fd": None} for process in holders
    }
    assert [found["environ"] for found in seen.values() if SECRET in (found["environ"] or "")] == []
    open_ones = [found for found in seen.values() if found["environ"] is not None]
    assert len(open_ones) == len(processes) - count > 0  # so that the spy is known to see


def _holds_keys(process: psutil.Process) -> bool:
    words = process.cmdline()
    return any(part in words or any(word.endswith(f"/{part}") for word in words) for part in PARTS)


PARTS = ("gunicorn", "videoqueue.worker", "up")


@contextmanager
def up(ordinary: Path, data: Path) -> Iterator[tuple[str, psutil.Process]]:
    port = free_port()
    log = data.parent / "up.log"
    command = [sys.executable, "-m", "videoqueue", "up", "--port", str(port), "--data-dir", str(data)]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, ordinary, *command],
            env=environment(SETTINGS),
            cwd=data.parent,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        )
    try:
        eventually(lambda: "videoqueue is ready at" in log.read_text(), "up is ready")
        yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
    finally:
        below = family(process.pid)[1:]
        process.send_signal(signal.SIGTERM)
        process.wait(40)
        wait_until_gone(below)


def complete_a_job(url: str, folder: Path) -> str:
    job_id = submit(url, make_video(folder / "v.mp4"))
    assert wait_for(url, job_id, "completed", "failed")["status"] == "completed"
    return job_id


def results_of(url: str, job_id: str, ordinary: Path, file: Path) -> Path:
    command = [sys.executable, "-m", "videoqueue", "results", job_id, "--url", url, "-o", str(file)]
    subprocess.run([sys.executable, ordinary, *command], env=environment({}), check=True)
    return file


def open_to_others(folder: Path) -> list[str]:
    found = [folder, *folder.rglob("*")]
    return [str(path) for path in found if stat.S_IMODE(path.lstat().st_mode) & 0o077]


def test_nothing_of_up_can_be_seen_by_others(tmp_path: Path, ordinary: Path) -> None:
    """Its data folder was there before, open to all, with a database."""
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    (data / "videoqueue.db").touch(mode=0o644)
    with up(ordinary, data) as (url, process):
        job_id = complete_a_job(url, tmp_path)
        assert open_to_others(results_of(url, job_id, ordinary, tmp_path / "results.json")) == []
        processes = family(process.pid)
        assert open_to_others(data) == []
        require_closed(ordinary, processes, 5)
        for each in processes:
            assert "Umask:\t0077" in Path(f"/proc/{each.pid}/status").read_text() or is_guard(each)
    assert open_to_others(data) == []


def is_guard(process: psutil.Process) -> bool:
    return any(word.endswith("guard.py") for word in process.cmdline())


def test_nothing_of_the_procfile_s_processes_can_be_seen_by_others(
    tmp_path: Path, redis_url: str, ordinary: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    prelude = f"ulimit -Sn 200; exec {sys.executable} {ordinary} "
    service = Service(data, {"REDIS_URL": redis_url} | SETTINGS, prelude=prelude)
    try:
        service.release()
        service.start()
        complete_a_job(service.url, tmp_path)
        processes = [each for name in ("web", "worker") for each in family(service.pid(name))]
        require_closed(ordinary, processes, 4)
        limits = [each.rlimit(psutil.RLIMIT_NOFILE) for each in processes if not is_child(each)]
        assert [soft for soft, _ in limits] == [hard for _, hard in limits]
    finally:
        service.stop()
    logs = {str(data / "web.log"), str(data / "worker.log")}  # the test's own
    assert set(open_to_others(data)) <= logs
