"""A rolling update: the release before, run from its own code, works on the schema of this one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.chaos.workplace import Workplace
from tests.support.stack import ROOT, Service, eventually, submit, wait_for
from tests.support.videos import make_video
from videoqueue.api.extension import services_of
from videoqueue.app import create_app
from videoqueue.settings import load_settings

sys.path.insert(0, str(ROOT / "scripts"))

from benchmarks.older import code_of

NEWEST = max((ROOT / "migrations" / "versions").glob("[0-9]*.py"))


def commit_before(migration: Path) -> str:
    """Returns the commit before the one with the migration; the latest one if it is not committed yet."""
    command = ["git", "log", "-1", "--diff-filter=A", "--format=%H^", "--", str(migration)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip() or "HEAD"


@pytest.fixture
def older(tmp_path: Path) -> Iterator[Workplace]:
    """The code of the release before, with this release's packages."""
    with code_of(commit_before(NEWEST), tmp_path, parts=("videoqueue", "migrations")) as tree:
        assert not (tree / NEWEST.relative_to(ROOT)).exists()
        yield Workplace(tmp_path / "older", tree)


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_web_and_worker_of_the_release_before_complete_jobs_on_the_new_schema(
    older: Workplace, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    settings = {
        "DATABASE_URL": database_url.replace("postgresql+psycopg:", "postgresql:"),
        "REDIS_URL": redis_url,
        "VIDEOQUEUE_STORAGE_URL": f"file://{tmp_path}/objects",
        "VIDEOQUEUE_DATA_DIR": str(tmp_path / "data"),
        "VIDEOQUEUE_PIPELINES_DIR": str(older.pipelines),
    }
    video = make_video(tmp_path / "video.mp4")
    before = Service(tmp_path / "data", settings | older.environ, cwd=tmp_path)
    Service(tmp_path / "data", settings).release()
    new = create_app(load_settings(settings))
    try:
        with services_of(new).engine.connect() as connection:
            found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one()
            assert found == NEWEST.name.partition("_")[0]
        before.start_process("web")
        eventually(before.answers, "web of the release before")
        with video.open("rb") as stream:  # accepted by this release, processed by the one before
            answer = new.test_client().post(
                "/video/submit?pipeline_id=quick", data=stream, content_type="video/mp4"
            )
        assert answer.status_code == 202
        jobs = [answer.get_json()["job_id"], submit(before.url, video, pipeline_id="quick")]
        before.start_process("worker")
        for job_id in jobs:
            assert wait_for(before.url, job_id, "completed", "failed")["status"] == "completed"
            assert new.test_client().get(f"/video/results/{job_id}").status_code == 200
        log = before.log("web") + before.log("worker")
        assert "Traceback" not in log
        assert " bug." not in log
    finally:
        before.stop()
        services_of(new).engine.dispose()
