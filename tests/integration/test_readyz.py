"""GET /readyz: out of service only without database or storage, and never slow."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from tests.support.records import new_job
from videoqueue.api.extension import services_of
from videoqueue.app import create_app
from videoqueue.errors import StorageFullError
from videoqueue.jobs import workers
from videoqueue.jobs.tables import Base, JobRow, WorkerHeartbeat
from videoqueue.services import Services
from videoqueue.settings import load_settings

NEW = new_job()


@pytest.fixture
def start(tmp_path: Path, redis_url: str) -> Iterator[Callable[..., FlaskClient]]:
    """Makes an app with settings of one's own."""
    engines = []

    def start(**settings: str) -> FlaskClient:
        environ = {"VIDEOQUEUE_DATA_DIR": str(tmp_path / "data"), "REDIS_URL": redis_url} | settings
        app = create_app(load_settings(environ))
        engine = services_of(app).store.engine
        engines.append(engine)
        if engine.dialect.name == "sqlite":
            Base.metadata.create_all(engine)
        return app.test_client()

    yield start
    for engine in engines:
        engine.dispose()


def worker_lives(services: Services) -> None:
    workers.heartbeat(services.store.engine, "host:1", 1)


def test_all_is_well(client: FlaskClient, services: Services) -> None:
    worker_lives(services)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert answer.json == {
        "status": "ready",
        "degraded": [],
        "workers": 1,
        "pending": 0,
        "oldest_pending_seconds": None,
    }


def test_it_tells_how_long_the_oldest_pending_job_waits(client: FlaskClient, services: Services) -> None:
    services.store.create(NEW)
    with services.store.engine.begin() as connection:
        connection.execute(sa.update(JobRow).values(created_at=JobRow.created_at - 1_000_000_000))
    services.store.create(NEW)
    answer = client.get("/readyz").get_json()
    assert answer["pending"] == 2
    assert answer["oldest_pending_seconds"] == pytest.approx(1000, abs=60)


def test_without_a_live_worker_it_is_degraded(client: FlaskClient, services: Services) -> None:
    assert client.get("/readyz").get_json()["degraded"] == ["no_live_worker"]
    worker_lives(services)
    assert client.get("/readyz").get_json()["degraded"] == []
    with services.store.engine.begin() as connection:
        connection.execute(sa.update(WorkerHeartbeat).values(seen_at=WorkerHeartbeat.seen_at - 16_000_000))
    answer = client.get("/readyz")
    assert (answer.status_code, answer.get_json()["degraded"]) == (200, ["no_live_worker"])


def test_without_the_queue_it_is_degraded(start: Callable[..., FlaskClient]) -> None:
    client = start(REDIS_URL="redis://127.0.0.1:1")
    worker_lives(services_of(client.application))
    answer = client.get("/readyz")
    assert (answer.status_code, answer.get_json()["degraded"]) == (200, ["queue_unavailable"])


def test_a_full_storage_is_degraded_because_results_can_still_be_read(
    client: FlaskClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    from videoqueue.storage.file_writer import FileWriter

    def full(*_: object) -> None:
        raise StorageFullError("full")

    monkeypatch.setattr(FileWriter, "write", full)
    worker_lives(services)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.get_json()["degraded"]) == (200, ["storage_full"])


def unavailable(client: FlaskClient, code: str) -> str:
    answer = client.get("/readyz")
    assert (answer.status_code, answer.mimetype) == (503, "application/problem+json")
    assert list(answer.get_json()) == ["type", "title", "status", "detail", "instance", "code"]
    assert answer.get_json()["code"] == code
    detail: str = answer.get_json()["detail"]
    return detail


def test_without_the_database_it_is_not_ready(start: Callable[..., FlaskClient], tmp_path: Path) -> None:
    client = start(
        DATABASE_URL="postgresql://127.0.0.1:1/nowhere", VIDEOQUEUE_STORAGE_URL=f"file://{tmp_path}/objects"
    )
    assert unavailable(client, "database_unavailable").startswith("The database did not respond")


def test_without_the_storage_it_is_not_ready(start: Callable[..., FlaskClient], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    client = start(VIDEOQUEUE_STORAGE_URL=f"file://{tmp_path}/file")
    assert unavailable(client, "storage_unavailable").startswith("The storage did not respond")


def test_without_both_it_names_both(start: Callable[..., FlaskClient], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    client = start(
        DATABASE_URL="postgresql://127.0.0.1:1/nowhere", VIDEOQUEUE_STORAGE_URL=f"file://{tmp_path}/file"
    )
    assert "database and the storage did not respond" in unavailable(client, "database_unavailable")


def test_a_database_that_hangs_is_not_waited_for_and_asked_once(
    start: Callable[..., FlaskClient], tmp_path: Path
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        client = start(
            DATABASE_URL=f"postgresql://127.0.0.1:{silent.getsockname()[1]}/x",
            VIDEOQUEUE_STORAGE_URL=f"file://{tmp_path}/objects",
            VIDEOQUEUE_READY_SECONDS="0.1",
        )
        for _ in range(3):
            assert "within 0.1 seconds (VIDEOQUEUE_READY_SECONDS)" in unavailable(
                client, "database_unavailable"
            )
        asking = [thread for thread in threading.enumerate() if thread.name == "readyz-database"]
    assert len(asking) == 1
    asking[0].join(30)
    assert not asking[0].is_alive()


def test_it_recovers_by_itself(start: Callable[..., FlaskClient], tmp_path: Path) -> None:
    blocked = tmp_path / "objects"
    blocked.touch()
    client = start(VIDEOQUEUE_STORAGE_URL=f"file://{blocked}")
    unavailable(client, "storage_unavailable")
    blocked.unlink()
    assert client.get("/readyz").status_code == 200
