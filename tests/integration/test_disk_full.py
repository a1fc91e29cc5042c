"""A disk without room: the client is told, and nothing half-written stays.

The kernel refuses the bytes: a limit on the size of files for uploads, a limit on its pages for SQLite.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from tests.support.records import new_job
from tests.support.videos import make_video
from videoqueue.broker import queued
from videoqueue.errors import DatabaseUnavailableError
from videoqueue.jobs.tables import JobRow
from videoqueue.jobs.types import ALL_OWNERS
from videoqueue.services import Services

UPLOAD = """
import json, pathlib, resource, sys
from videoqueue.app import create_app
from videoqueue.jobs.types import ALL_OWNERS
from videoqueue.jobs.tables import Base
from videoqueue.api.extension import services_of
from videoqueue.settings import load_settings
from videoqueue.jobs.types import ALL_OWNERS
from videoqueue.jobs.types import ALL_OWNERS

data, video, redis_url, form = sys.argv[1:]
app = create_app(load_settings({"VIDEOQUEUE_DATA_DIR": data, "REDIS_URL": redis_url}))
Base.metadata.create_all(services_of(app).store.engine)
size = pathlib.Path(video).stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size - 1, size - 1))
body = pathlib.Path(video).read_bytes()
sent = {"data": body, "content_type": "video/mp4"}
if form == "form":  # by hand: the test client would itself write the form to a file
    head = b'--x\\r\\nContent-Disposition: form-data; name="file"; filename="v.mp4"\\r\\n\\r\\n'
    sent = {"data": head + body + b"\\r\\n--x--\\r\\n", "content_type": "multipart/form-data; boundary=x"}
answer = app.test_client().post("/video/submit", **sent)
print(json.dumps([answer.status_code, answer.json]))
"""


@pytest.mark.parametrize("how", ["raw", "form"])
def test_an_upload_that_does_not_fit_is_507_and_leaves_nothing(
    tmp_path: Path, services: Services, how: str
) -> None:
    video = make_video(tmp_path / "v.mp4")
    with video.open("ab") as stream:  # a box of padding: larger than what the database needs
        stream.write((4 * 1024**2).to_bytes(4, "big") + b"free" + bytes(4 * 1024**2 - 8))
    settings = services.settings
    done = subprocess.run(
        [sys.executable, "-c", UPLOAD, settings.data_dir, str(video), settings.redis_url, how],
        capture_output=True,
        text=True,
        check=True,
    )
    status, body = json.loads(done.stdout)
    assert (status, body["code"]) == (507, "storage_full")
    assert body["detail"] == "The storage for videos is full. Try again when space has been freed."
    assert [path for path in (settings.data_path / "objects").rglob("*") if path.is_file()] == []
    assert rows(services) == 0


def rows(services: Services) -> int:
    with services.store.engine.connect() as connection:
        return connection.scalars(sa.select(sa.func.count()).select_from(JobRow)).one()


@pytest.fixture
def full_database(services: Services) -> Services:
    """SQLite that may not grow by a page; its own error is that of a full disk."""
    engine = services.store.engine

    @sa.event.listens_for(engine, "connect")
    def _limit(connection: Any, _record: Any) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}").close()

    engine.dispose()  # connections from before have no limit
    return services


def test_a_full_database_accepts_no_job_and_says_so(
    full_database: Services, client: FlaskClient, tmp_path: Path
) -> None:
    body = make_video(tmp_path / "v.mp4").read_bytes()
    answer = client.post("/video/submit", data=body, content_type="video/mp4")
    accepted = 0
    while answer.status_code == 202:
        accepted += 1
        answer = client.post("/video/submit", data=body, content_type="video/mp4")
    assert (answer.status_code, answer.get_json()["code"]) == (503, "database_unavailable")
    assert rows(full_database) == accepted == queued(full_database.broker) == videos(full_database)
    ready = client.get("/readyz")
    assert (ready.status_code, ready.get_json()["code"]) == (503, "database_unavailable")


def videos(services: Services) -> int:
    return len(list((services.settings.data_path / "objects").rglob("*.mp4")))


def test_a_chunk_that_does_not_fit_leaves_the_job_as_it_was(full_database: Services) -> None:
    store = full_database.store
    job_id, _ = store.create(new_job())
    claim = store.claim(job_id, "worker")
    assert claim is not None
    before = store.get(job_id, ALL_OWNERS)
    with pytest.raises(DatabaseUnavailableError):
        store.checkpoint(claim, 0, bytes(1024**2), [0], 0.5)
    assert store.get(job_id, ALL_OWNERS) == before
    assert list(full_database.results.chunks(job_id, ALL_OWNERS)) == []
