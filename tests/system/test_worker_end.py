"""How a worker process runs and ends: by order, with its jobs given back, or by force, with nothing left."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.chaos.workplace import Workplace
from tests.support.stack import Service, eventually, submit, wait_for, wait_until_gone
from tests.support.videos import make_video


@pytest.fixture
def service(tmp_path: Path, redis_url: str) -> Iterator[Service]:
    """Its jobs take a tenth of a second a frame, so that none is over before its worker is ended."""
    settings = {
        "REDIS_URL": redis_url,
        "VIDEOQUEUE_CHECKPOINT_SECONDS": "0.2",
        "VIDEOQUEUE_DEFAULT_PIPELINE": "slow",
    }
    service = Service(tmp_path / "service", settings | Workplace(tmp_path / "venv").environ)
    service.start()
    yield service
    service.stop()


def job(service: Service) -> tuple[str, int, int, int]:
    """Status, crashes, failures and stored chunks of the only job."""
    with sqlite3.connect(service.folder / "videoqueue.db") as connection:
        row: tuple[str, int, int, int] = connection.execute(
            "SELECT status, crashes, failures, (SELECT count(*) FROM result_chunk) FROM job"
        ).fetchone()
    connection.close()
    return row


def test_term_to_the_whole_group_gives_the_job_back_with_what_was_done(
    service: Service, tmp_path: Path
) -> None:
    job_id = submit(service.url, make_video(tmp_path / "long.mp4", frames=400))
    wait_for(service.url, job_id, "running")
    eventually(lambda: job(service)[3] > 0, "a chunk is stored")
    service.stop()
    status, crashes, failures, chunks = job(service)
    assert (status, crashes, failures) == ("pending", 0, 0)
    assert chunks > 0
    assert "Killing worker process" not in service.log("worker")
    assert "Job interrupted." in service.log("worker")


def test_a_killed_master_leaves_no_worker_and_no_child(service: Service, tmp_path: Path) -> None:
    job_id = submit(service.url, make_video(tmp_path / "long.mp4", frames=400))
    wait_for(service.url, job_id, "running")
    # bash replaces itself by the one command of the Procfile's line: the leader is Dramatiq's master.
    master = psutil.Process(service.pid("worker"))
    assert "videoqueue.worker" in " ".join(master.cmdline())
    eventually(lambda: len(master.children(recursive=True)) >= 2, "worker and child run")
    below = master.children(recursive=True)
    master.kill()
    wait_until_gone([master, *below])


def test_what_a_worker_writes_is_closed_to_other_users(service: Service, tmp_path: Path) -> None:
    job_id = submit(service.url, make_video(tmp_path / "long.mp4", frames=400))
    wait_for(service.url, job_id, "running")
    master = psutil.Process(service.pid("worker"))
    eventually(lambda: len(master.children(recursive=True)) >= 2, "worker and child run")
    for process in master.children(recursive=True):
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert "Umask:\t0077" in status, process.cmdline()
    video = eventually(lambda: next((service.folder / "work").glob("worker-*/*.mp4"), None), "it is copied")
    for path in (service.folder / "work", video.parent, video):
        assert path.stat().st_mode & 0o077 == 0, path
