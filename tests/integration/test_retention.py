"""What is old goes, and nothing that a job still needs."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from sqlalchemy.engine import Engine

from tests.support.records import lease_policy, new_job
from tests.support.stack import eventually
from videoqueue.errors import StorageUnavailableError
from videoqueue.jobs.database import engine_options, prepare
from videoqueue.jobs.owner_tables import SessionRow
from videoqueue.jobs.store import JobStore
from videoqueue.jobs.tables import WEBHOOK_EVENT, JobRow, ResultChunk
from videoqueue.jobs.types import ALL_OWNERS
from videoqueue.jobs.webhooks import WebhookEvents
from videoqueue.maintenance.periodic import Periodic
from videoqueue.maintenance.purger import Purger
from videoqueue.maintenance.retention import Retention
from videoqueue.services import Services
from videoqueue.settings import load_settings
from videoqueue.storage import ObjectStorage, open_storage

DAY = 86_400


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
def storage(folder: Path) -> ObjectStorage:
    return open_storage("", folder)


@pytest.fixture
def retention(store: JobStore, storage: ObjectStorage) -> Retention:
    return Retention(store, storage)


def stored(storage: ObjectStorage) -> str:
    key = f"inputs/{uuid.uuid4().hex}.mp4"
    with storage.open_writer(key) as writer:
        writer.write(b"a video")
        writer.commit()
    return key


def submitted(store: JobStore, storage: ObjectStorage) -> tuple[uuid.UUID, str]:
    key = stored(storage)
    return store.create(new_job(b"a video", input_key=key))[0], key


def ended(store: JobStore, storage: ObjectStorage, end: str, days: float) -> tuple[uuid.UUID, str]:
    """A job with one chunk of results that ended so many days ago."""
    job_id, key = submitted(store, storage)
    claim = store.claim(job_id, "worker")
    assert claim is not None
    store.checkpoint(claim, 0, b"a", [0], 0.1)
    getattr(store, end)(claim, "x")
    backdate(store, job_id, finished_at=days)
    return job_id, key


def backdate(store: JobStore, job_id: uuid.UUID, **columns: float) -> None:
    """Moves times of a row so many days into the past."""
    changes = {name: getattr(JobRow, name) - round(days * DAY * 1_000_000) for name, days in columns.items()}
    with store.engine.begin() as connection:
        connection.execute(sa.update(JobRow).where(JobRow.job_id == job_id).values(changes))


def chunks(store: JobStore) -> int:
    with store.engine.connect() as connection:
        return connection.scalars(sa.select(sa.func.count()).select_from(ResultChunk)).one()


def grow_old(folder: Path, key: str, seconds: float) -> None:
    past = (folder / key).stat().st_mtime - seconds
    os.utime(folder / key, (past, past))


@pytest.mark.parametrize("end", ["complete", "fail"])
def test_an_ended_job_goes_with_its_video_and_results_when_its_days_are_over(
    store: JobStore, storage: ObjectStorage, retention: Retention, end: str
) -> None:
    old, old_key = ended(store, storage, end, days=31)
    young, young_key = ended(store, storage, end, days=29)
    assert retention.count_ended(ALL_OWNERS, 30) == 1
    assert retention.remove_ended(ALL_OWNERS, 30, limit=10) == 1
    assert (store.get(old, ALL_OWNERS), storage.exists(old_key)) == (None, False)
    assert store.get(young, ALL_OWNERS) is not None
    assert (storage.exists(young_key), chunks(store)) == (True, 1)


def test_a_job_that_has_not_ended_stays_whatever_its_age(
    store: JobStore, storage: ObjectStorage, retention: Retention
) -> None:
    pending, running = submitted(store, storage), submitted(store, storage)
    assert store.claim(running[0], "worker") is not None
    for job_id, _ in (pending, running):
        backdate(store, job_id, created_at=900, updated_at=900)
    assert retention.remove_ended(ALL_OWNERS, 0, limit=10) == 0
    assert all(
        store.get(job_id, ALL_OWNERS) is not None and storage.exists(key)
        for job_id, key in (pending, running)
    )


def test_the_oldest_go_first_and_no_more_than_asked(
    store: JobStore, storage: ObjectStorage, retention: Retention
) -> None:
    jobs = [ended(store, storage, "fail", days)[0] for days in (40, 60, 50)]
    assert [
        retention.remove_ended(ALL_OWNERS, 30, limit=2),
        retention.remove_ended(ALL_OWNERS, 30, limit=2),
    ] == [2, 1]
    assert [store.get(job_id, ALL_OWNERS) for job_id in jobs] == [None] * 3


def test_a_video_stays_as_long_as_another_job_was_made_from_it(
    store: JobStore, storage: ObjectStorage, retention: Retention
) -> None:
    failed, key = ended(store, storage, "fail", days=31)
    again = store.retry(failed, ALL_OWNERS)
    assert again is not None
    assert retention.remove_ended(ALL_OWNERS, 30, limit=10) == 1
    assert store.get(failed, ALL_OWNERS) is None
    assert storage.exists(key)
    claim = store.claim(again, "worker")
    assert claim is not None
    store.fail(claim, "again")
    backdate(store, again, finished_at=31)
    assert retention.remove_ended(ALL_OWNERS, 30, limit=10) == 1
    assert not storage.exists(key)


@pytest.fixture
def other_engine(database_url: str, engine: Engine) -> Iterator[Engine]:
    """Another process' connections to the same database."""
    other = sa.create_engine(database_url, **engine_options(database_url, 2))
    prepare(other)
    yield other
    other.dispose()


def test_a_job_tried_again_while_it_is_purged_keeps_its_video(
    store: JobStore, storage: ObjectStorage, other_engine: Engine
) -> None:
    failed, key = ended(store, storage, "fail", days=31)
    retention = Retention(JobStore(other_engine, lease_policy()), storage)
    purge = threading.Thread(target=lambda: retention.remove_ended(ALL_OWNERS, 30, limit=10))
    deleting = threading.Event()

    @sa.event.listens_for(other_engine, "before_cursor_execute")
    def _deleting(_connection: Any, _cursor: Any, statement: str, *_rest: object) -> None:
        if statement.startswith("DELETE"):
            deleting.set()

    @sa.event.listens_for(store.engine, "before_cursor_execute")
    def _inserting(_connection: Any, _cursor: Any, statement: str, *_rest: object) -> None:
        if statement.startswith("INSERT INTO job "):
            purge.start()
            # Long enough for a purge that is not held up to finish; one that is, waits for this very thread.
            purge.join(1)

    again = store.retry(failed, ALL_OWNERS)
    purge.join(30)
    assert deleting.is_set()
    assert again is not None
    tried = store.get(again, ALL_OWNERS)
    assert tried is not None
    assert (store.get(failed, ALL_OWNERS), tried.status) == (None, "pending")
    assert storage.exists(key)


def test_a_purge_that_is_cut_off_between_row_and_video_is_finished_by_the_next(
    store: JobStore,
    storage: ObjectStorage,
    retention: Retention,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job_id, key = ended(store, storage, "fail", days=31)

    def killed(_key: str) -> None:
        assert store.get(job_id, ALL_OWNERS) is None
        raise StorageUnavailableError("away")

    with monkeypatch.context() as patched:
        patched.setattr(storage, "delete", killed)
        with pytest.raises(StorageUnavailableError):
            retention.remove_ended(ALL_OWNERS, 30, limit=10)
    assert retention.unfinished_deletions() == [key]
    assert [step.videos for step in retention.round(ALL_OWNERS, None, DAY, 10)] == [1, 0]
    assert not storage.exists(key)
    assert retention.unfinished_deletions() == []


def test_orphans_are_old_videos_without_a_job_and_nothing_else(
    store: JobStore, storage: ObjectStorage, retention: Retention, folder: Path
) -> None:
    _, needed = submitted(store, storage)
    orphans = sorted(stored(storage) for _ in range(3))
    fresh = stored(storage)
    foreign = "backup/of-someone-else.mp4"
    with storage.open_writer(foreign) as writer:
        writer.write(b"not ours")
        writer.commit()
    for key in (needed, *orphans, foreign):
        grow_old(folder, key, DAY + 60)
    batches = list(retention.orphans(DAY, 2))
    assert sorted(key for batch in batches for key in batch) == orphans
    assert max(map(len, batches)) <= 2
    assert storage.exists(fresh)


def test_a_round_of_the_purger_removes_all_that_is_old_in_bounded_passes(
    store: JobStore, storage: ObjectStorage, retention: Retention, folder: Path
) -> None:
    environ = {"VIDEOQUEUE_DATA_DIR": str(folder.parent), "VIDEOQUEUE_SWEEP_ROWS": "2"}
    for _ in range(3):
        ended(store, storage, "complete", days=31)
    orphan = stored(storage)
    grow_old(folder, orphan, DAY + 60)
    unfinished = folder / "inputs" / ".part-left"
    unfinished.touch()
    os.utime(unfinished, (1, 1))
    purger = Purger(store.engine, retention, load_settings(environ))
    assert purger.purge()
    assert retention.count_ended(ALL_OWNERS, 30) == 1
    assert [purger.purge() for _ in range(3)] == [True, True, False]
    assert retention.count_ended(ALL_OWNERS, 30) == 0
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_without_retention_jobs_stay_for_ever(
    store: JobStore, storage: ObjectStorage, retention: Retention, folder: Path
) -> None:
    job_id, key = ended(store, storage, "complete", days=9000)
    environ = {"VIDEOQUEUE_DATA_DIR": str(folder.parent), "VIDEOQUEUE_RETENTION_DAYS": "0"}
    purger = Purger(store.engine, retention, load_settings(environ))
    while purger.purge():
        pass
    assert store.get(job_id, ALL_OWNERS) is not None
    assert storage.exists(key)


def test_a_round_that_met_trouble_begins_anew(
    store: JobStore,
    storage: ObjectStorage,
    retention: Retention,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    purger = Purger(store.engine, retention, load_settings({"VIDEOQUEUE_DATA_DIR": str(folder.parent)}))
    first, _ = ended(store, storage, "complete", days=31)
    with monkeypatch.context() as patched:
        patched.setattr(storage, "delete", _away)
        with pytest.raises(StorageUnavailableError):
            purger.purge()
    second, _ = ended(store, storage, "complete", days=31)
    while purger.purge():
        pass
    assert (store.get(first, ALL_OWNERS), store.get(second, ALL_OWNERS)) == (None, None)


def test_a_round_that_an_outage_ended_is_begun_again_long_before_the_next_one_is_due(
    store: JobStore,
    storage: ObjectStorage,
    retention: Retention,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(2):
        ended(store, storage, "complete", days=31)
    failed, delete = threading.Event(), storage.delete

    def away_once(key: str) -> None:
        if failed.is_set():
            delete(key)
        else:
            failed.set()
            raise StorageUnavailableError("away")

    monkeypatch.setattr(storage, "delete", away_once)
    monkeypatch.setattr("videoqueue.maintenance.purger.random.uniform", lambda least, most: least)
    environ = {
        "VIDEOQUEUE_DATA_DIR": str(folder.parent),
        "VIDEOQUEUE_PURGE_SECONDS": "3600",
        "VIDEOQUEUE_RETRY_SECONDS": "0.01",
        "VIDEOQUEUE_SWEEP_ROWS": "1",
        "VIDEOQUEUE_SWEEP_SECONDS": "0.01",
    }
    purger = Purger(store.engine, retention, load_settings(environ))
    purger.start()
    try:
        eventually(lambda: retention.count_ended(ALL_OWNERS, 30) == 0)
    finally:
        purger.stop()
    assert failed.is_set()


def test_pauses_after_passes_that_an_outage_ended_double_up_to_the_usual_one() -> None:
    outcomes: list[Exception | float] = [StorageUnavailableError("away")] * 4
    outcomes += [0.5, StorageUnavailableError("away"), RuntimeError("a bug"), StorageUnavailableError("away")]

    def work() -> float:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    periodic = Periodic("test", work, pause=5, retry=1)
    assert [periodic.run_pass() for _ in range(len(outcomes))] == [1, 2, 4, 5, 0.5, 1, 5, 2]


def _away(_key: str) -> None:
    raise StorageUnavailableError("away")


def test_an_uploads_key_is_of_the_kind_that_is_collected(
    client: FlaskClient, services: Services, tmp_path: Path
) -> None:
    from tests.support.videos import make_video

    video = make_video(tmp_path / "v.mp4")
    answer = client.post("/video/submit", data=video.read_bytes(), content_type="video/mp4")
    job_id = uuid.UUID(answer.get_json()["job_id"])
    with services.store.engine.begin() as connection:
        connection.execute(sa.delete(JobRow).where(JobRow.job_id == job_id))
    (orphans,) = Retention(services.store, services.storage).orphans(1e-6, 10)
    assert len(orphans) == 1


def test_webhook_events_go_with_a_purge_if_their_job_is_gone(store: JobStore, retention: Retention) -> None:
    with_webhooks = JobStore(store.engine, store.policy, webhooks=True)
    jobs = []
    for _ in range(4):
        claim = with_webhooks.claim(store.create(new_job())[0], "worker")
        assert claim is not None
        with_webhooks.fail(claim, "x")
        jobs.append(claim.job_id)
    kept, *gone = jobs
    with store.engine.begin() as connection:
        given_up = sa.update(WEBHOOK_EVENT).where(WEBHOOK_EVENT.c.job_id != gone[0])
        connection.execute(given_up.values(next_at=None))
        # As a release does that knows no webhooks.
        connection.execute(sa.delete(JobRow).where(JobRow.job_id.in_(gone)))
    list(retention.round(ALL_OWNERS, None, DAY, 2))
    assert [event.job_id for event in WebhookEvents(store.engine).waiting(10)] == [kept]


def test_expired_sessions_go_with_a_purge_and_others_stay(store: JobStore, retention: Retention) -> None:
    past, future = 1_000_000, 4_000_000_000_000_000
    rows = [{"token_sha256": f"{n:064}", "key_id": "abcdefghijkl", "expires_at": past} for n in range(5)]
    rows.append({"token_sha256": "f" * 64, "key_id": "abcdefghijkl", "expires_at": future})
    with store.engine.begin() as connection:
        connection.execute(sa.insert(SessionRow), rows)
    steps = list(retention.round(ALL_OWNERS, None, DAY, batch=2))
    assert len(steps) > 2  # some at a time
    with store.engine.connect() as connection:
        assert connection.scalars(sa.select(SessionRow.token_sha256)).all() == ["f" * 64]
