"""A worker that starts while database, queue or storage is away does all its duties once they are back."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tests.chaos.workplace import Workplace
from tests.support.records import lease_policy, new_job
from tests.support.s3_server import BUCKET, S3Server, s3_server
from tests.support.stack import Service, eventually
from tests.support.tcp_proxy import TcpProxy
from tests.support.videos import make_video
from videoqueue.jobs.database import engine_options, prepare
from videoqueue.jobs.store import JobStore
from videoqueue.jobs.tables import HEARTBEAT, JOB
from videoqueue.jobs.types import ALL_OWNERS


@dataclass
class Around:
    """What the worker works with: behind a proxy each, and seen here directly."""

    engine: Engine
    s3: S3Server
    prefix: str
    proxies: dict[str, TcpProxy]
    settings: dict[str, str]

    @property
    def store(self) -> JobStore:
        return JobStore(self.engine, lease_policy(announce_seconds=0))

    def submitted(self, video: Path) -> uuid.UUID:
        """A job that nobody was told about, with its video."""
        key = f"inputs/{uuid.uuid4().hex}.mp4"
        self.s3.client.upload_file(str(video), BUCKET, f"{self.prefix}/{key}")
        new = new_job(video.read_bytes(), pipeline_id="quick", input_key=key)
        return self.store.create(new)[0]

    def change(self, job_id: uuid.UUID, **columns: object) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.update(JOB).where(JOB.c.job_id == job_id).values(columns))

    def status(self, job_id: uuid.UUID) -> str | None:
        job = self.store.get(job_id, ALL_OWNERS)
        return job.status if job else None

    def beats(self) -> list[int]:
        """When each worker was last seen."""
        with self.engine.connect() as connection:
            return list(connection.scalars(sa.select(HEARTBEAT.c.seen_at)))

    def videos(self) -> int:
        found: int = self.s3.client.list_objects_v2(Bucket=BUCKET, Prefix=self.prefix)["KeyCount"]
        return found


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return Workplace(tmp_path_factory.mktemp("workplace") / "venv")


@pytest.fixture
def around(postgres_server: str, redis_url: str, workplace: Workplace) -> Iterator[Around]:
    url = sa.make_url(postgres_server).set(drivername="postgresql+psycopg")
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    name = f"test_{uuid.uuid4().hex}"
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    direct = url.set(database=name)
    engine = sa.create_engine(direct, **engine_options(str(direct), 2))
    prepare(engine)
    socket = Path(str(url.query["host"])) / f".s.PGSQL.{url.port or 5432}"
    with ExitStack() as stack:
        s3 = stack.enter_context(s3_server())
        upstream: dict[str, Path | tuple[str, int]] = {
            "database": socket,
            "queue": _address(redis_url),
            "storage": _address(s3.url),
        }
        proxies = {name: stack.enter_context(TcpProxy(where)) for name, where in upstream.items()}
        settings = workplace.environ | s3.environ
        settings |= {
            "DATABASE_URL": f"postgresql+psycopg://{url.username}@127.0.0.1:{proxies['database'].port}/{name}",
            "REDIS_URL": f"redis://127.0.0.1:{proxies['queue'].port}/0",
            "VIDEOQUEUE_STORAGE_URL": f"s3://{BUCKET}/{name}",
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{proxies['storage'].port}",
            "VIDEOQUEUE_SWEEP_SECONDS": "0.2",
            "VIDEOQUEUE_PURGE_SECONDS": "1",
            "VIDEOQUEUE_RETRY_SECONDS": "0.2",
            "VIDEOQUEUE_RENEW_SECONDS": "0.2",
            "VIDEOQUEUE_ANNOUNCE_SECONDS": "0.2",
            "VIDEOQUEUE_ANNOUNCE_MAX_SECONDS": "1",
            "VIDEOQUEUE_MAX_ATTEMPTS": "100",
        }
        yield Around(engine, s3, name, proxies, settings)
    engine.dispose()
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


def _address(url: str) -> tuple[str, int]:
    host, _, port = url.split("://")[1].removesuffix("/0").partition(":")
    return host, int(port)


@pytest.fixture
def service(tmp_path: Path, around: Around) -> Iterator[Service]:
    service = Service(tmp_path / "service", around.settings)
    service.release()
    yield service
    service.stop()


#: What the log of a worker says whose dependency is away.
NOTICED = {
    "database": "A pass was cut short. thread_name=sweeper reason=The database",
    "queue": "A pass was cut short. thread_name=sweeper reason=Redis cannot be reached",
    "storage": "The storage cannot be used yet. reason=The storage",
}


@pytest.mark.parametrize(
    "away",
    [["database"], ["queue"], ["storage"], ["database", "queue", "storage"]],
    ids=["database", "queue", "storage", "all"],
)
def test_a_worker_started_during_an_outage_does_everything_after_it(
    service: Service, around: Around, tmp_path: Path, away: list[str]
) -> None:
    video = make_video(tmp_path / "video.mp4")
    with ExitStack() as outage:
        for name in away:
            outage.enter_context(around.proxies[name].down())
        service.start_process("worker")
        eventually(lambda: "Worker ready." in service.log("worker"), "the worker is ready")
        noticed = NOTICED["database" if "database" in away else away[0]]
        eventually(lambda: noticed in service.log("worker"), "the worker has met the outage")
        if "database" not in away:
            eventually(around.beats, "it gives a sign of life")
        processes = psutil.Process(service.pid("worker")).children()
        forgotten, abandoned = around.submitted(video), around.submitted(video)
        around.store.claim(abandoned, "dead worker")
        around.change(abandoned, lease_until=1)

    before = max(around.beats(), default=0)
    eventually(lambda: max(around.beats(), default=0) > before, "it gives signs of life")
    eventually(lambda: around.status(forgotten) == "completed", "a job nobody was told about is done")
    eventually(lambda: around.status(abandoned) == "completed", "a job of a dead worker is done")
    old = around.submitted(video)
    around.change(old, status="failed", error_message="Why.", finished_at=1)
    eventually(lambda: around.status(old) is None and around.videos() == 2, "an old job is removed")
    assert psutil.Process(service.pid("worker")).children() == processes
