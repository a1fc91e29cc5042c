"""`videoqueue up`: what dies comes back, and what ends leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest
import requests

from tests.chaos.workplace import Workplace
from tests.support.stack import (
    ROOT,
    environment,
    eventually,
    family,
    folder_of_another_user,
    free_port,
    results,
    status,
    submit,
    wait_for,
    wait_until_gone,
)
from tests.support.videos import make_video


class Up:
    """A running `videoqueue up`; from a workplace its jobs take a tenth of a second a frame."""

    def __init__(self, data: Path, workplace: Workplace | None = None, host: str | None = None) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.log = data.parent / "up.log"
        python = workplace.python if workplace else sys.executable
        settings = {"VIDEOQUEUE_DEFAULT_PIPELINE": "slow"} | workplace.environ if workplace else {}
        command = [python, "-m", "videoqueue.cli", "up", "--data-dir", str(data)]
        command += ["--host", host] if host else []
        with self.log.open("ab") as log:
            start = log.tell()
            self.process = subprocess.Popen(
                command,
                env=environment({"PYTHONPATH": str(ROOT), "PORT": str(port)} | settings),
                cwd=data.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        eventually(lambda: b"videoqueue is ready at" in self.log.read_bytes()[start:], "up is ready")

    def leader(self, part: str) -> psutil.Process:
        """The child of `up` with this in its command line."""
        (found,) = [
            child
            for child in psutil.Process(self.process.pid).children()
            if any(part in word for word in child.cmdline())
        ]
        return found

    def stop(self, number: int = signal.SIGTERM) -> None:
        everything = family(self.process.pid)
        os.kill(self.process.pid, number)
        self.process.wait(40)
        wait_until_gone(everything[1:])


@contextmanager
def running(data: Path, workplace: Workplace | None = None, host: str | None = None) -> Iterator[Up]:
    up = Up(data, workplace, host)
    try:
        yield up
    finally:
        if up.process.poll() is None:
            up.stop()


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running(tmp_path_factory.mktemp("up") / "data") as up:
        yield up


@pytest.mark.parametrize("part", ["gunicorn", "videoqueue.worker", "valkey-server"])
def test_a_process_killed_with_9_comes_back_and_the_next_job_completes(
    up: Up, tmp_path: Path, part: str
) -> None:
    killed = up.leader(part)
    below = killed.children(recursive=True)
    killed.kill()
    wait_until_gone([killed, *below])
    eventually(lambda: restarted(up, part, killed.pid), f"{part} is restarted")
    eventually(lambda: answers(up), "web answers")
    job_id = submit(up.url, make_video(tmp_path / "v.mp4"))
    assert wait_for(up.url, job_id, "completed", "failed")["status"] == "completed"


def restarted(up: Up, part: str, old: int) -> bool:
    children = psutil.Process(up.process.pid).children()
    return any(child.pid != old and any(part in word for word in child.cmdline()) for child in children)


def answers(up: Up) -> bool:
    try:
        return requests.get(f"{up.url}/healthz", timeout=1).ok
    except requests.RequestException:
        return False


def test_the_ready_message_has_the_three_curl_lines(up: Up) -> None:
    text = up.log.read_text()
    assert f"Open {up.url}/ in a browser" in text
    assert f"curl -F file=@video.mp4 {up.url}/video/submit" in text
    assert f"curl {up.url}/video/status/JOB_ID" in text
    assert f"curl {up.url}/video/results/JOB_ID" in text


def refused_up(data: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "videoqueue.cli", "up", "--port", str(free_port()), "--data-dir", str(data)],
        env=environment({"PYTHONPATH": str(ROOT)}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    return done


def test_a_data_folder_of_another_user_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = folder_of_another_user(tmp_path / "theirs")
    done = refused_up(folder)
    (line,) = done.stderr.splitlines()
    assert f"{folder} belongs to the user " in line


def test_a_second_up_on_the_same_folder_is_refused_in_one_line(up: Up) -> None:
    data = up.log.parent / "data"
    second = refused_up(data)
    assert second.stderr.count("\n") == 1
    assert f"process {up.process.pid}" in second.stderr


def test_kill_9_of_up_leaves_no_process_and_loses_nothing(tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4")
    with running(tmp_path / "data") as first:
        done = submit(first.url, video)
        wait_for(first.url, done, "completed")
        before = results(first.url, done)
        everything = family(first.process.pid)
        first.process.kill()
        first.process.wait()
        wait_until_gone(everything[1:])
    with running(tmp_path / "data") as second:
        assert status(second.url, done)["status"] == "completed"
        assert results(second.url, done) == before


def test_ctrl_c_during_a_job_leaves_no_process_and_the_job_goes_on_at_the_next_start(tmp_path: Path) -> None:
    workplace = Workplace(tmp_path / "venv")
    with running(tmp_path / "data", workplace) as first:
        job_id = submit(first.url, make_video(tmp_path / "long.mp4", frames=100))
        wait_for(first.url, job_id, "running")
        first.stop(signal.SIGINT)
    assert list((tmp_path / "data" / "work").glob("worker-*")) == []
    with closing(sqlite3.connect(tmp_path / "data" / "videoqueue.db")) as connection:
        assert connection.execute("SELECT status, failures FROM job").fetchall() == [("pending", 0)]
    with running(tmp_path / "data", workplace) as second:
        assert wait_for(second.url, job_id, "completed", "failed")["status"] == "completed"
        assert [item["frame_index"] for item in results(second.url, job_id)] == list(range(100))


def test_on_loopback_no_key_is_needed_also_with_port_in_the_environment(up: Up) -> None:
    response = requests.get(f"{up.url}/video/status/unknown", timeout=10)
    assert (response.status_code, response.json()["code"]) == (404, "job_not_found")
    assert not (up.log.parent / "data" / "api-key").exists()


def test_beyond_loopback_the_first_key_is_in_a_private_file_and_not_in_the_output(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(data, host="0.0.0.0") as up:
        file = data / "api-key"
        key, said = file.read_text().strip(), up.log.read_text()
        assert file.stat().st_mode & 0o777 == 0o600
        assert str(file) in said
        assert key not in said
        assert key.rpartition("_")[2] not in said
        assert requests.get(f"{up.url}/video/status/unknown", timeout=10).status_code == 401
        done = subprocess.run(
            [sys.executable, "-m", "videoqueue.cli", "submit", str(make_video(tmp_path / "v.mp4")), "--wait"],
            env=environment(
                {"PYTHONPATH": str(ROOT), "VIDEOQUEUE_DATA_DIR": str(data), "VIDEOQUEUE_URL": up.url}
            ),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
    with running(data, host="0.0.0.0") as again:
        assert file.read_text().strip() == key
        assert "The first one is in" not in again.log.read_text().rpartition("videoqueue is ready at")[2]


def test_a_terminal_shows_the_first_key(tmp_path: Path) -> None:
    master, terminal = os.openpty()
    command = [sys.executable, "-m", "videoqueue.cli", "up", "--host", "0.0.0.0", "--data-dir", "data"]
    process = subprocess.Popen(
        command,
        env=environment({"PYTHONPATH": str(ROOT), "PORT": str(free_port())}),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    said = b""
    while b"/video/results/JOB_ID" not in said:
        said += os.read(master, 65536)
    everything = family(process.pid)
    process.terminate()
    with contextlib.suppress(OSError):  # the terminal's end, once nobody writes to it
        while os.read(master, 65536):
            pass
    process.wait(40)
    os.close(master)
    wait_until_gone(everything[1:])
    assert f"KEY is {(tmp_path / 'data' / 'api-key').read_text().strip()}" in said.decode()
