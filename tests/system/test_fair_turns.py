"""Real worker processes take turns between owners, and keep to their limits of running jobs."""

from __future__ import annotations

import os
import signal
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa

from tests.chaos.transitions import TransitionLog
from tests.chaos.workplace import Workplace
from tests.support.records import lease_policy, new_job
from tests.support.stack import Service, eventually
from tests.support.tcp_proxy import TcpProxy
from tests.support.videos import make_video
from videoqueue.broker import QUEUE, announce, build_broker
from videoqueue.jobs.changes import new_row
from videoqueue.jobs.database import now, writing
from videoqueue.jobs.store import JobStore
from videoqueue.jobs.tables import HEARTBEAT, JOB

_KEY = "inputs/video.mp4"
#: Longer than any test: what happens in one happens without the thread that sleeps for so long.
_NEVER = "3600"
_NO_SWEEPS = {"VIDEOQUEUE_SWEEP_SECONDS": _NEVER}
_SWEEPS = {"VIDEOQUEUE_SWEEP_SECONDS": "0.2"}
_LONG_LEASE = {"VIDEOQUEUE_LEASE_SECONDS": _NEVER}
_ONE_EACH = {"VIDEOQUEUE_OWNER_MAX_RUNNING": "1"}


@dataclass
class Workers:
    """Worker processes of one thread each, and the database that notes what they do."""

    service: Service
    engine: sa.Engine
    redis_url: str
    proxy: TcpProxy
    video: bytes

    def submit(self, owner: str, *pipelines: str, frames: int = 1, announced: bool = True) -> list[uuid.UUID]:
        """A pending job for each pipeline, in this order."""
        video = {"input_key": _KEY, "max_frames": frames}
        jobs = {
            uuid.uuid4(): new_job(self.video, owner=owner, pipeline_id=pipeline, **video)
            for pipeline in pipelines
        }
        with writing(self.engine) as connection:
            time = now(connection)
            rows = [
                new_row(job_id, new, time + order, lease_policy(announce_seconds=0.0))
                for order, (job_id, new) in enumerate(jobs.items())
            ]
            connection.execute(sa.insert(JOB), rows)
        broker = build_broker(self.redis_url)
        for job_id in jobs if announced else ():
            announce(broker, job_id)
        return list(jobs)

    def order(self, step: str, action: str) -> None:
        """The first worker that reaches the step does this; see `videoqueue.failpoints`."""
        (self.service.folder / "failpoints" / step).write_text(action)

    def start(self) -> None:
        self.service.start_process("worker")

    def await_end(self, count: int) -> None:
        """Until so many jobs have ended."""
        ended = sa.select(sa.func.count()).where(JOB.c.finished_at.is_not(None))

        def have_ended() -> bool:
            with self.engine.connect() as connection:
                return connection.execute(ended).scalar_one() >= count

        eventually(have_ended, f"{count} jobs have ended")

    def await_state(self, job_id: uuid.UUID, state: str) -> None:
        query = sa.select(JOB.c.status).where(JOB.c.job_id == job_id)

        def is_reached() -> bool:
            with self.engine.connect() as connection:
                return bool(connection.execute(query).scalar_one() == state)

        eventually(is_reached, f"{job_id} is {state}")

    def await_passes(self, count: int, workers: int) -> None:
        """Until the sweeper of each worker has begun so many more passes."""
        seen: dict[str, set[int]] = {}

        def have_passed() -> bool:
            with self.engine.connect() as connection:
                for worker, at in connection.execute(sa.select(HEARTBEAT.c.worker, HEARTBEAT.c.seen_at)):
                    seen.setdefault(worker, set()).add(at)
            return len(seen) == workers and all(len(times) > count for times in seen.values())

        eventually(have_passed, f"{count} passes of {workers} sweepers")

    def queued(self) -> int:
        with redis.Redis.from_url(self.redis_url) as client:
            return len(client.hkeys(f"dramatiq:{QUEUE}.msgs"))

    def announcements(self) -> list[int]:
        with self.engine.connect() as connection:
            return list(connection.scalars(sa.select(JOB.c.announcements).order_by(JOB.c.created_at)))

    def starts_after(self, job_id: uuid.UUID) -> list[uuid.UUID]:
        """The jobs that were started after this one was submitted."""
        log = TransitionLog(self.engine).transitions()
        since = next(place for place, one in enumerate(log) if one.job_id == job_id)
        return [one.job_id for one in log[since:] if one.after == "running"]

    def most_at_once(self) -> dict[str, int]:
        """How many jobs of each owner have run at the same time."""
        with self.engine.connect() as connection:
            owners = {
                job_id: owner for job_id, owner in connection.execute(sa.select(JOB.c.job_id, JOB.c.owner))
            }
        running, most = Counter[str](), Counter[str]()
        for one in TransitionLog(self.engine).transitions():
            owner = owners[one.job_id]
            running[owner] += (one.after == "running") - (one.before == "running")
            most[owner] = max(most[owner], running[owner])
        return dict(most)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return Workplace(tmp_path_factory.mktemp("workplace") / "venv")


@pytest.fixture
def workers(
    request: pytest.FixtureRequest, tmp_path: Path, engine: sa.Engine, redis_url: str, workplace: Workplace
) -> Iterator[Workers]:
    """Not yet started, with the settings in the parameter."""
    port = int(redis_url.rpartition(":")[2].partition("/")[0])
    folder = tmp_path / "service"
    stored = folder / "objects" / _KEY
    stored.parent.mkdir(parents=True)
    (folder / "failpoints").mkdir()
    video = make_video(stored, frames=20).read_bytes()
    TransitionLog(engine).install()
    with TcpProxy(("127.0.0.1", port)) as proxy:
        settings = {
            "DATABASE_URL": engine.url.render_as_string(hide_password=False),
            "REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0",
            "VIDEOQUEUE_STORAGE_URL": f"file://{folder / 'objects'}",
            "VIDEOQUEUE_FAILPOINTS_DIR": str(folder / "failpoints"),
            "VIDEOQUEUE_ANNOUNCE_SECONDS": _NEVER,
            "VIDEOQUEUE_ANNOUNCE_MAX_SECONDS": _NEVER,
        }
        service = Service(folder, settings | workplace.environ | request.param)
        yield Workers(service, engine, redis_url, proxy, video)
        service.stop()


def processes(count: int) -> dict[str, str]:
    return {"VIDEOQUEUE_WORKER_PROCESSES": str(count)}


@pytest.mark.parametrize(
    ("workers", "database_url"),
    [(processes(1), "sqlite"), (processes(2), "postgres")],
    indirect=True,
    ids=["one worker, SQLite", "two workers, Postgres"],
)
def test_the_only_job_of_one_owner_starts_after_at_most_one_more_of_the_500_of_another(
    workers: Workers,
) -> None:
    workers.submit("anna", *["quick"] * 500)
    workers.start()
    workers.await_end(5)
    (other,) = workers.submit("bert", "quick")
    workers.await_state(other, "completed")
    assert workers.starts_after(other).index(other) <= 1
    assert workers.queued() > 100  # it did not wait for its own message, which is the last


TWO = processes(2) | _ONE_EACH
ON_POSTGRES = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)


@ON_POSTGRES
@pytest.mark.parametrize("workers", [TWO | _SWEEPS], indirect=True, ids=["two workers"])
def test_no_sweeper_announces_jobs_of_an_owner_at_the_limit_until_one_has_expired(workers: Workers) -> None:
    held, *_ = workers.submit("anna", *["quick"] * 5, announced=False)
    claim = JobStore(workers.engine, lease_policy(lease_seconds=3600)).claim(held, "a worker of the test")
    assert claim is not None
    workers.start()
    workers.await_passes(3, workers=2)
    assert workers.announcements() == [1] * 5
    assert workers.queued() == 0
    assert "Nothing to do" not in workers.service.log("worker")
    with workers.engine.begin() as connection:
        connection.execute(sa.update(JOB).where(JOB.c.job_id == held).values(lease_until=1))
    workers.await_end(5)
    assert workers.most_at_once() == {"anna": 1}


@ON_POSTGRES
@pytest.mark.parametrize("workers", [TWO | _NO_SWEEPS], indirect=True, ids=["two workers"])
def test_an_owner_at_the_limit_goes_on_without_a_sweeper_when_a_job_completes_or_fails(
    workers: Workers,
) -> None:
    for owner in ("anna", "bert"):
        workers.submit(owner, "quick")
        workers.submit(owner, *["refuse", "quick"] * 3, announced=False)
    workers.start()
    workers.await_end(14)
    assert workers.most_at_once() == {"anna": 1, "bert": 1}


@ON_POSTGRES
@pytest.mark.parametrize("workers", [TWO | _NO_SWEEPS | _LONG_LEASE], indirect=True, ids=["two workers"])
def test_an_owner_at_the_limit_goes_on_at_once_when_a_running_job_is_deleted(workers: Workers) -> None:
    """Its worker is stopped, so that it notices nothing."""
    workers.order("worker.claimed", "stop")
    (running,) = workers.submit("anna", "quick")
    workers.start()
    try:
        workers.await_state(running, "running")
        (other,) = workers.submit("anna", "quick", announced=False)
        assert workers.service.run(["videoqueue", "jobs", "delete", str(running)]).returncode == 0
        assert workers.announcements() == [2]
        workers.await_state(other, "completed")
    finally:
        os.killpg(workers.service.pid("worker"), signal.SIGCONT)


@ON_POSTGRES
@pytest.mark.parametrize("workers", [TWO | _SWEEPS], indirect=True, ids=["two workers"])
def test_a_job_that_ends_while_the_queue_is_away_postpones_no_announcement_of_the_next(
    workers: Workers,
) -> None:
    (first,) = workers.submit("anna", "slow", frames=20)
    workers.start()
    workers.await_state(first, "running")
    (second,) = workers.submit("anna", "quick", announced=False)
    with workers.proxy.down():
        workers.await_state(first, "completed")
        said = "The owner's next job was not announced"
        eventually(lambda: said in workers.service.log("worker"), "the worker has met the outage")
    workers.await_state(second, "completed")
