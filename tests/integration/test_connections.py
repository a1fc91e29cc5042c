"""A process opens no more connections to the database than it may, and waits for one in bounded time."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.support.records import new_job
from tests.support.serving import serving
from tests.support.stack import eventually
from tests.support.videos import make_video
from videoqueue.api.extension import services_of
from videoqueue.app import create_app
from videoqueue.errors import SettingsError
from videoqueue.jobs.tables import Base
from videoqueue.jobs.types import ALL_OWNERS
from videoqueue.settings import load_settings


@pytest.fixture
def small_app(database_url: str, tmp_path: Path, redis_url: str) -> Iterator[Flask]:
    """It may have two connections."""
    environ = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "VIDEOQUEUE_DATA_DIR": str(tmp_path / "data"),
        "VIDEOQUEUE_STORAGE_URL": f"file://{tmp_path}/objects",
        "VIDEOQUEUE_DATABASE_CONNECTIONS": "2",
    }
    app = create_app(load_settings(environ))
    engine = services_of(app).store.engine
    Base.metadata.create_all(engine)
    yield app
    engine.dispose()


def test_when_all_are_in_use_it_is_503_and_names_the_setting(small_app: Flask) -> None:
    client, engine = small_app.test_client(), services_of(small_app).store.engine
    address = f"/video/status/{uuid.uuid4()}"
    with ExitStack() as busy:
        for _ in range(2):
            busy.enter_context(engine.connect())
        answer = client.get(address)
        assert (answer.status_code, answer.get_json()["code"]) == (503, "database_unavailable")
        assert "VIDEOQUEUE_DATABASE_CONNECTIONS" in answer.get_json()["detail"]
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
    assert client.get(address).status_code == 404
    # A check that still waits for a connection is shared by the request after it.
    eventually(lambda: client.get("/readyz").status_code == 200, "the service is ready")


def test_two_connections_are_enough_for_many_threads(small_app: Flask, tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4").read_bytes()
    engine = services_of(small_app).store.engine
    opened = 0
    count = threading.Lock()

    @sa.event.listens_for(engine, "connect")
    def _count(_connection: object, _record: object) -> None:
        nonlocal opened
        with count:
            opened += 1

    engine.dispose()

    def visit(number: int) -> list[int]:
        client = small_app.test_client()
        sent = client.post("/video/submit", data=video, content_type="video/mp4")
        asked = client.get(f"/video/status/{sent.get_json()['job_id']}")
        ready = client.get("/readyz") if number % 4 == 0 else asked
        return [sent.status_code, asked.status_code, ready.status_code]

    with ThreadPoolExecutor(8) as threads:  # as many as may upload at once
        assert list(threads.map(visit, range(32))) == [[202, 200, 200]] * 32
    assert opened <= 2


def test_clients_that_do_not_read_their_results_hold_no_connection(small_app: Flask) -> None:
    services = services_of(small_app)
    store = services.store
    claim = store.claim(store.create(new_job())[0], "worker")
    assert claim is not None
    for seq in range(3):
        store.checkpoint(claim, seq, b'{"frame_index":%d}' % seq, [seq], 0.5)
    store.complete(claim, services.results.etag(claim.job_id, ALL_OWNERS))
    with ExitStack() as readers:
        for _ in range(3):
            client = small_app.test_client()
            answer = readers.enter_context(client.get(f"/video/results/{claim.job_id}"))
            assert next(iter(answer.iter_encoded()))
        status = small_app.test_client().get(f"/video/status/{claim.job_id}")
        assert status.status_code == 200


def test_a_process_needs_two_connections() -> None:
    with pytest.raises(SettingsError, match="takes a whole number of at least 2"):
        load_settings({"VIDEOQUEUE_DATABASE_CONNECTIONS": "1"})


def test_the_default_fits_small_plans() -> None:
    assert load_settings({"DATABASE_URL": "postgres://h/d"}).database_connections == 4
    assert load_settings({"VIDEOQUEUE_WEB_THREADS": "6"}).database_connections == 8


def test_web_logs_the_sum_over_its_processes(tmp_path: Path, redis_url: str) -> None:
    settings = {"REDIS_URL": redis_url, "VIDEOQUEUE_DATABASE_CONNECTIONS": "3", "WEB_CONCURRENCY": "2"}
    with serving(tmp_path, **settings) as web:
        assert "each=3 web_processes=2 sum=6" in web.service.log("web")
