"""The web process as a server: what it says at its start, in its log, and when it is told to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.support.serving import Client, Web, padded, post_raw, serving
from tests.support.stack import ROOT, Service, environment, eventually, wait_until_gone
from tests.support.videos import make_video

SAY = "import videoqueue.server.config as server; server.when_ready(None)"


@pytest.fixture
def web(tmp_path: Path, redis_url: str) -> Iterator[Any]:
    with serving(tmp_path / "web", REDIS_URL=redis_url) as web:
        yield web


@pytest.mark.parametrize(
    ("settings", "public"),
    [
        ({"PORT": "8000"}, True),
        ({"VIDEOQUEUE_HOST": "0.0.0.0"}, True),
        ({"VIDEOQUEUE_HOST": "::"}, True),
        ({"VIDEOQUEUE_HOST": "videos.example.com"}, True),
        ({}, False),
        ({"VIDEOQUEUE_HOST": "127.0.0.1"}, False),
        ({"VIDEOQUEUE_HOST": "::1"}, False),
        ({"VIDEOQUEUE_HOST": "localhost"}, False),
    ],
)
def test_a_public_address_without_authentication_is_warned_of_once_and_otherwise_needs_a_key(
    settings: dict[str, str], public: bool
) -> None:
    assert started(settings).count("`videoqueue keys create --owner NAME`") == (1 if public else 0)
    said = started(settings | {"VIDEOQUEUE_AUTH": "off"})
    assert said.count("without authentication (VIDEOQUEUE_AUTH=off)") == (1 if public else 0)
    assert "keys create" not in said


def started(settings: dict[str, str]) -> str:
    """What a web process with these settings logs at its start."""
    return subprocess.run(
        [sys.executable, "-c", SAY],
        env=environment({"REDIS_URL": "redis://127.0.0.1"} | settings),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stderr


def test_each_line_logged_for_a_request_bears_its_id(web: Web, tmp_path: Path) -> None:
    video = make_video(tmp_path / "video.mp4")
    with video.open("rb") as stream:
        answer = requests.post(
            f"{web.url}/video/submit",
            files={"file": stream},
            headers={"X-Request-Id": "my-request"},
            timeout=60,
        )
    assert answer.headers["X-Request-Id"] == "my-request"
    lines = web.service.log("web").splitlines()
    assert [line for line in lines if "Job accepted." in line and "[request_id=my-request " in line]
    assert not [line for line in lines if "Booting worker" in line and "[request_id=my-request " in line]


def test_a_connection_is_used_again_also_after_a_small_refusal(web: Web) -> None:
    with Client(web) as client:
        for _ in range(3):
            client.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            said = client.one_answer()
            assert b" 200 " in said
            assert b"Connection: keep-alive" in said


def test_requests_sent_without_waiting_are_answered_in_order(web: Web) -> None:
    with Client(web) as client:
        paths = (b"/healthz", b"/nope", b"/healthz")
        heads = [b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path for path in paths]
        heads[-1] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        client.send(b"".join(heads))
        said = client.answer()
    assert [line.split()[1] for line in said.splitlines() if line.startswith(b"HTTP/1.1")] == [
        b"200",
        b"404",
        b"200",
    ]


def test_a_request_behind_an_upload_is_answered_too(web: Web, tmp_path: Path) -> None:
    body = make_video(tmp_path / "video.mp4").read_bytes()
    with Client(web) as client:
        client.begin_upload(
            len(body), body + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        said = client.answer()
    assert b" 202 " in said
    assert b'{"status":"ok"}' in said


def test_told_to_stop_it_finishes_the_upload_it_is_receiving(web: Web, tmp_path: Path) -> None:
    body = padded(make_video(tmp_path / "video.mp4").read_bytes(), 100_000)
    master = psutil.Process(web.service.pid("web"))
    processes = [master, *master.children()]
    with Client(web) as client, Client(web), Client(web) as half:
        half.send(b"GET /heal")
        client.begin_upload(len(body), body[:-1])
        eventually(lambda: list((web.folder / "objects").rglob(".part-*")), "the upload has begun")
        os.kill(master.pid, signal.SIGTERM)
        eventually(lambda: "Handling signal: term" in web.service.log("web"), "it knows")
        client.send(body[-1:])
        assert b" 202 " in client.one_answer()
        wait_until_gone(processes)
    assert len(web.rows()) == 1


def test_relative_paths_mean_the_folder_it_was_started_in_also_when_gunicorn_changes_it(
    tmp_path: Path, redis_url: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    settings = {
        "REDIS_URL": redis_url,
        "VIDEOQUEUE_DATA_DIR": "./data",
        "GUNICORN_CMD_ARGS": f"--chdir {tmp_path / 'elsewhere'}",
    }
    service = Service(tmp_path / "data", settings, cwd=tmp_path)
    try:
        service.release()
        service.start_process("web")
        eventually(service.answers, "web answers")
        body = make_video(tmp_path / "video.mp4").read_bytes()
        assert post_raw(service.url, body).status_code == 202
    finally:
        service.stop()
    assert list((tmp_path / "data" / "objects" / "inputs").iterdir()) != []
    assert list((tmp_path / "elsewhere").iterdir()) == []
