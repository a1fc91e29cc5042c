"""Writes that the database committed, although its reply was lost."""

from collections.abc import Callable

import pytest
from sqlalchemy.pool import PoolProxiedConnection

from tests.support.job_rows import NEW, OTHER, claimed, row
from videoqueue.errors import DatabaseUnavailableError
from videoqueue.jobs.store import JobStore
from videoqueue.jobs.types import ALL_OWNERS


@pytest.fixture
def lost_reply(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Lets the next COMMIT happen, and its answer get lost."""

    def arm() -> None:
        dialect = store.engine.dialect
        error = dialect.loaded_dbapi.OperationalError

        def commit(connection: PoolProxiedConnection) -> None:
            monkeypatch.undo()
            dialect.do_commit(connection)
            raise error("server closed the connection unexpectedly")

        monkeypatch.setattr(dialect, "do_commit", commit)

    return arm


def test_a_job_committed_without_an_answer_is_accepted(
    store: JobStore, lost_reply: Callable[[], None]
) -> None:
    lost_reply()
    job_id, is_new = store.create(NEW)
    assert is_new
    assert store.get(job_id, ALL_OWNERS) is not None


def test_a_retry_committed_without_an_answer_is_accepted(
    store: JobStore, lost_reply: Callable[[], None]
) -> None:
    claim = store.claim(store.create(NEW)[0], "worker")
    assert claim is not None
    store.fail(claim, "why")
    lost_reply()
    again = store.retry(claim.job_id, ALL_OWNERS)
    assert again is not None
    assert store.get(again, ALL_OWNERS) is not None


def test_a_claim_committed_without_an_answer_is_held(store: JobStore, lost_reply: Callable[[], None]) -> None:
    job_id, _ = store.create(NEW)
    lost_reply()
    claim = store.claim(job_id, "worker")
    assert claim is not None
    store.renew(claim)


def test_a_chunk_committed_without_an_answer_is_stored_once(
    store: JobStore, lost_reply: Callable[[], None]
) -> None:
    claim = claimed(store)
    lost_reply()
    store.checkpoint(claim, 0, b"a", [0], 0.1)
    store.checkpoint(claim, 1, b"b", [2], 0.2)


@pytest.mark.parametrize(
    ("end", "arguments", "status"),
    [
        ("complete", ("etag",), "completed"),
        ("fail", ("why",), "failed"),
        ("release", ("failures", "why"), "pending"),
    ],
)
def test_an_end_committed_without_an_answer_counts(
    store: JobStore, lost_reply: Callable[[], None], end: str, arguments: tuple[str, ...], status: str
) -> None:
    claim = claimed(store)
    lost_reply()
    assert getattr(store, end)(claim, *arguments) is (True if end == "release" else None)
    assert row(store, claim).status == status


@pytest.mark.parametrize(
    ("write", "arguments"),
    [
        ("complete", ("etag",)),
        ("fail", ("why",)),
        ("release", ("failures", "why")),
        ("begin", (OTHER,)),
        ("checkpoint", (0, b"a", [0], 0.1)),
    ],
)
def test_a_write_that_did_not_count_is_no_success(
    store: JobStore, monkeypatch: pytest.MonkeyPatch, write: str, arguments: tuple[object, ...]
) -> None:
    claim = claimed(store)
    before = row(store, claim)
    dialect = store.engine.dialect
    error = dialect.loaded_dbapi.OperationalError

    def commit(connection: PoolProxiedConnection) -> None:
        monkeypatch.undo()
        dialect.do_rollback(connection)
        raise error("server closed the connection unexpectedly")

    monkeypatch.setattr(dialect, "do_commit", commit)
    with pytest.raises(DatabaseUnavailableError):
        getattr(store, write)(claim, *arguments)
    assert row(store, claim) == before


def test_completing_again_is_a_success_for_the_attempt_that_did_it(store: JobStore) -> None:
    claim = claimed(store)
    store.complete(claim, "etag")
    store.complete(claim, "etag")
    assert row(store, claim).status == "completed"
