"""Deletions whose web process is killed at each step, on both databases and storages."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import sqlalchemy as sa

from tests.support.databases import Databases
from tests.support.records import lease_policy, new_job
from tests.support.s3_server import BUCKET, s3_server
from tests.support.serving import Web, serving
from tests.support.stack import eventually
from videoqueue.errors import LeaseLostError
from videoqueue.jobs.results import ResultReader, encode
from videoqueue.jobs.store import JobStore
from videoqueue.jobs.tables import CHUNK, DELETED_JOB, JOB
from videoqueue.jobs.types import ALL_OWNERS, STATUSES, Claim
from videoqueue.maintenance.retention import Retention
from videoqueue.services import build_storage
from videoqueue.settings import load_settings
from videoqueue.storage import ObjectStorage

#: Every step, and how many videos and recorded deletions a kill there leaves.
STEPS = {"deletion.row_deleted": (1, 1), "deletion.video_deleted": (0, 1), "deletion.finished": (0, 0)}


@dataclass
class Bench:
    """A web server with its database and storage, and the folder of orders to kill it."""

    web: Web
    store: JobStore
    storage: ObjectStorage
    orders: Path
    given: dict[str, str]

    def job_in(self, status: str) -> tuple[uuid.UUID, Claim | None]:
        key = f"inputs/{uuid.uuid4().hex}.mp4"
        with self.storage.open_writer(key) as writer:
            writer.write(b"a video")
            writer.commit()
        job_id, _ = self.store.create(new_job(b"a video", input_key=key))
        if status == "pending":
            return job_id, None
        claim = self.store.claim(job_id, "host:1")
        assert claim is not None
        self.store.checkpoint(claim, 0, encode([{"frame_index": 0, "result": {}}]), [0], 0.5)
        if status == "completed":
            self.store.complete(claim, ResultReader(self.web.engine).etag(job_id, ALL_OWNERS))
        elif status == "failed":
            self.store.fail(claim, "why")
        return job_id, claim

    def left(self) -> tuple[int, int, int, int]:
        """How many jobs, chunks, videos and recorded deletions there are."""
        with self.web.engine.connect() as connection:
            jobs, chunks, deletions = (
                connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
                for table in (JOB, CHUNK, DELETED_JOB)
            )
        return jobs, chunks, len(list(self.storage.list_older_than(-60))), deletions


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def shared_database_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('database') / 'videoqueue.db'}"
        return
    databases: Databases = request.getfixturevalue("databases")
    with databases.new() as url:
        yield url


@pytest.fixture(scope="module", params=["folder", "s3"])
def shared_bench(
    request: pytest.FixtureRequest,
    shared_database_url: str,
    valkey_server: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Bench]:
    """One for each database and storage. No process writes how much of the code it ran: they are killed."""
    folder = tmp_path_factory.mktemp("bench")
    orders = folder / "orders"
    orders.mkdir()
    given = {
        "DATABASE_URL": shared_database_url,
        "REDIS_URL": f"{valkey_server[:-1]}4",
        "VIDEOQUEUE_FAILPOINTS_DIR": str(orders),
        "VIDEOQUEUE_STORAGE_URL": f"file://{folder / 'objects'}",
    }
    with ExitStack() as stack, pytest.MonkeyPatch.context() as environ:
        environ.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        if request.param == "s3":
            s3 = stack.enter_context(s3_server())
            given |= s3.environ | {"VIDEOQUEUE_STORAGE_URL": f"s3://{BUCKET}/{uuid.uuid4().hex}"}
            for name, value in s3.environ.items():
                environ.setenv(name, value)
        storage = build_storage(load_settings(given))
        web = stack.enter_context(serving(folder / "web", **given))
        yield Bench(web, JobStore(web.engine, lease_policy(lease_seconds=600)), storage, orders, given)


@pytest.fixture
def bench(shared_bench: Bench) -> Bench:
    """The same, emptied."""
    eventually(shared_bench.web.service.answers, "web answers")
    with shared_bench.web.engine.begin() as connection:
        for table in (JOB, DELETED_JOB):
            connection.execute(sa.delete(table))
    for key in shared_bench.storage.list_older_than(-60):
        shared_bench.storage.delete(key)
    for order in shared_bench.orders.iterdir():
        order.unlink()
    return shared_bench


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_deletion_leaves_no_result_and_the_next_purge_removes_the_rest(
    bench: Bench, step: str
) -> None:
    for status in STATUSES:
        eventually(bench.web.service.answers, "web answers")
        job_id, claim = bench.job_in(status)
        (bench.orders / step).write_text("kill")
        with pytest.raises(requests.RequestException):
            requests.delete(f"{bench.web.url}/jobs/{job_id}", timeout=60)
        assert (status, bench.left()) == (status, (0, 0, *STEPS[step]))
        eventually(bench.web.service.answers, "web answers again")
        for path in (f"/jobs/{job_id}", f"/video/status/{job_id}", f"/video/results/{job_id}"):
            assert requests.get(bench.web.url + path, timeout=60).status_code == 404
        if status == "running":
            assert claim is not None
            with pytest.raises(LeaseLostError):
                bench.store.renew(claim)
        purge(bench)
        assert (status, bench.left()) == (status, (0, 0, 0, 0))


def purge(bench: Bench) -> None:
    settings = load_settings(bench.given)
    retention = Retention(bench.store, bench.storage)
    for _ in retention.round(ALL_OWNERS, settings.retention_days, settings.orphan_seconds, batch=100):
        pass


def test_each_state_is_deleted_with_its_video(bench: Bench) -> None:
    for status in STATUSES:
        job_id, _ = bench.job_in(status)
        address = f"{bench.web.url}/jobs/{job_id}"
        answers = [requests.delete(address, timeout=60).status_code for _ in range(2)]
        assert (answers, bench.left()) == ([204, 404], (0, 0, 0, 0))
