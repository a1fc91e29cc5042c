"""Every transition of a job row, on SQLite and Postgres."""

import threading
import time
import uuid
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.pool import PoolProxiedConnection

from tests.support.records import lease_policy, new_job, stored
from videoqueue.errors import DatabaseUnavailableError, IdempotencyKeyReusedError, LeaseLostError
from videoqueue.jobs.database import engine_options, prepare, writing
from videoqueue.jobs.store import Claim, JobStore, NewJob
from videoqueue.jobs.tables import JobRow, ResultChunk
from videoqueue.jobs.types import ALL_OWNERS, Job
from videoqueue.pipeline.decode.video_info import VideoInfo

NEW = new_job(frame_stride=2)


OURS, OTHER = "a" * 64, "b" * 64
GAVE_UP = "Gave up after 3 tries in a row (VIDEOQUEUE_MAX_ATTEMPTS): "
VIDEO = VideoInfo(damaged_frames=3, width=640, height=360, fps=29.97, duration=4.5, codec="hevc")


def age(store: JobStore, job_id: uuid.UUID, **columns: int) -> None:
    """Moves times of a row into the past, in seconds."""
    changes = {name: getattr(JobRow, name) - seconds * 1_000_000 for name, seconds in columns.items()}
    with store.engine.begin() as connection:
        connection.execute(sa.update(JobRow).where(JobRow.job_id == job_id).values(changes))


def claimed(store: JobStore) -> Claim:
    """A running job under the version OURS."""
    job_id, _ = store.create(NEW)
    claim = store.claim(job_id, "worker")
    assert claim is not None
    return store.begin(claim, OURS)


def claimed_again(store: JobStore, claim: Claim) -> Claim:
    """The next attempt of a running job."""
    store.release(claim, "interruption", None)
    again = store.claim(claim.job_id, "other")
    assert again is not None
    return again


def chunks(store: JobStore, claim: Claim) -> list[bytes]:
    query = sa.select(ResultChunk.payload).where(ResultChunk.job_id == claim.job_id)
    with store.engine.connect() as connection:
        return list(connection.scalars(query.order_by(ResultChunk.seq)))


def row(store: JobStore, claim: Claim) -> Job:
    return stored(store, claim.job_id)


def test_a_new_job_is_pending_and_due_at_once(store: JobStore) -> None:
    job_id, is_new = store.create(NEW)
    job = stored(store, job_id)
    assert is_new
    assert (job.status, job.progress, job.attempt, job.announcements) == ("pending", 0.0, 0, 1)
    assert job.created_at == job.updated_at == job.run_after
    assert job.announce_after == job.created_at + 10_000_000


def test_a_claim_takes_the_job_for_one_worker_only(store: JobStore) -> None:
    job_id, _ = store.create(NEW)
    claim = store.claim(job_id, "one")
    assert claim is not None
    assert (claim.attempt, claim.start_after, claim.next_seq) == (1, None, 0)
    assert store.claim(job_id, "two") is None
    job = row(store, claim)
    assert (job.status, job.worker) == ("running", "one")
    assert job.lease_until is not None
    assert job.started_at is not None
    assert job.lease_until - job.started_at == 20_000_000


def test_an_unknown_job_cannot_be_claimed(store: JobStore) -> None:
    assert store.claim(uuid.uuid4(), "worker") is None


def test_a_checkpoint_stores_results_progress_and_lease_together(store: JobStore) -> None:
    claim = claimed(store)
    age(store, claim.job_id, lease_until=15)
    store.checkpoint(claim, 0, b"a,b", [0, 2], 0.37)
    job = row(store, claim)
    assert job.progress == pytest.approx(0.3)
    assert job.lease_until is not None
    assert job.lease_until > job.updated_at + 19_000_000
    with store.engine.connect() as connection:
        chunk = connection.execute(sa.select(ResultChunk.__table__)).one()
    assert (chunk.seq, chunk.first_frame, chunk.frame_count, chunk.payload) == (0, 0, 2, b"a,b")


def test_a_chunk_can_be_committed_again_with_more_results_by_its_own_attempt_only(store: JobStore) -> None:
    claim = claimed(store)
    store.checkpoint(claim, 0, b"a", [0], 0.1)
    store.checkpoint(claim, 0, b"a,b", [0, 2], 0.2, replaces=True)
    assert chunks(store, claim) == [b"a,b"]
    again = claimed_again(store, claim)
    assert (again.start_after, again.next_seq) == (2, 1)
    with pytest.raises(LeaseLostError):
        store.checkpoint(claim, 0, b"a,b,c", [0, 2, 3], 0.3, replaces=True)
    assert chunks(store, claim) == [b"a,b"]


def test_full_progress_waits_for_completion(store: JobStore) -> None:
    claim = claimed(store)
    store.checkpoint(claim, 0, b"a", [0], 1.0)
    assert row(store, claim).progress == pytest.approx(0.9)
    store.complete(claim, "etag")
    job = row(store, claim)
    assert (job.status, job.progress, job.results_etag, job.lease_until) == ("completed", 1.0, "etag", None)
    assert job.finished_at is not None


def test_a_failed_job_says_why(store: JobStore) -> None:
    claim = claimed(store)
    store.fail(claim, "not a video")
    job = row(store, claim)
    assert (job.status, job.error_message) == ("failed", "not a video")


def test_a_later_attempt_resumes_behind_the_last_chunk(store: JobStore) -> None:
    claim = claimed(store)
    store.checkpoint(claim, 0, b"a,b", [0, 2], 0.2)
    store.checkpoint(claim, 1, b"c,d,e", [4, 6, 8], 0.5)
    assert store.release(claim, "interruption", None)
    again = store.claim(claim.job_id, "other")
    assert again is not None
    assert (again.attempt, again.start_after, again.next_seq) == (2, 8, 2)


def test_frames_that_could_not_be_decoded_do_not_move_the_place_to_resume_at(store: JobStore) -> None:
    claim = claimed(store)
    store.checkpoint(claim, 0, b"a,b,c", [0, 4, 10], 0.5)
    store.release(claim, "interruption", None)
    again = store.claim(claim.job_id, "other")
    assert again is not None
    assert again.start_after == 10


def test_another_version_of_the_pipeline_begins_with_the_first_frame(store: JobStore) -> None:
    claim = claimed(store)
    store.checkpoint(claim, 0, b"a,b", [0, 2], 0.5)
    again = claimed_again(store, claim)
    assert (again.pipeline_version, again.start_after, again.next_seq) == (OURS, 2, 1)
    again = store.begin(again, OTHER)
    assert (again.pipeline_version, again.start_after, again.next_seq) == (OTHER, None, 0)
    assert chunks(store, claim) == []
    job = row(store, claim)
    assert (job.pipeline_version, job.progress, job.status, job.attempt) == (OTHER, 0.0, "running", 2)
    store.checkpoint(again, 0, b"A", [0], 0.1)
    assert chunks(store, claim) == [b"A"]


def test_the_same_version_of_the_pipeline_goes_on(store: JobStore) -> None:
    claim = claimed(store)
    store.checkpoint(claim, 0, b"a,b", [0, 2], 0.5)
    again = claimed_again(store, claim)
    before = row(store, again)
    assert store.begin(again, OURS) == again
    assert row(store, again) == before
    assert chunks(store, claim) == [b"a,b"]


@pytest.mark.parametrize("column", ["pipeline_version", "last_index"])
def test_results_of_a_release_that_knows_no_version_are_made_anew(store: JobStore, column: str) -> None:
    """It leaves both columns null, also in a job that this release has begun and takes back."""
    claim = claimed(store)
    store.checkpoint(claim, 0, b"a,b", [0, 2], 0.5)
    table = JobRow if column == "pipeline_version" else ResultChunk
    with store.engine.begin() as connection:
        connection.execute(sa.update(table).values({column: None}))
    again = claimed_again(store, claim)
    assert (again.pipeline_version, again.start_after, again.next_seq) == (None, None, 0)
    again = store.begin(again, OURS)
    assert chunks(store, claim) == []
    assert row(store, claim).pipeline_version == OURS


def test_what_is_done_again_forgives_no_setback(store: JobStore) -> None:
    claim = claimed(store)
    store.checkpoint(claim, 0, b"a,b,c", [0, 2, 4], 0.5)
    store.release(claim, "crashes", "x")
    again = store.claim(claim.job_id, "other")
    assert again is not None
    again = store.begin(again, OTHER)
    store.checkpoint(again, 0, b"A,B", [0, 2], 0.3)
    assert row(store, again).crashes == 1
    store.checkpoint(again, 1, b"C,D", [4, 6], 0.7)
    assert row(store, again).crashes == 0


def test_two_versions_that_take_turns_and_crash_at_one_frame_come_to_an_end(store: JobStore) -> None:
    job_id, _ = store.create(NEW)
    for version in (OURS, OTHER):
        claim = store.claim(job_id, "worker")
        assert claim is not None
        claim = store.begin(claim, version)
        store.checkpoint(claim, 0, b"a", [0], 0.1)
        waits = store.release(claim, "crashes", "killed")
    assert not waits
    assert stored(store, job_id).status == "failed"


@pytest.mark.parametrize(("end", "said"), [("complete", "etag"), ("fail", "why")])
def test_what_is_known_of_the_video_is_stored_when_the_job_ends(store: JobStore, end: str, said: str) -> None:
    claim = claimed(store)
    store.checkpoint(claim, 0, b"a", [0], 0.5)
    running = row(store, claim)
    getattr(store, end)(claim, said, VIDEO)
    ended = row(store, claim)
    assert {name: getattr(running, name) for name in vars(VIDEO)} == dict.fromkeys(vars(VIDEO))
    assert {name: getattr(ended, name) for name in vars(VIDEO)} == vars(VIDEO)


@pytest.mark.parametrize("write", ["renew", "begin", "checkpoint", "complete", "fail", "release"])
def test_every_write_of_an_attempt_that_lost_the_job_is_refused(store: JobStore, write: str) -> None:
    stale = claimed(store)
    store.release(stale, "interruption", None)
    current = store.claim(stale.job_id, "other")
    assert current is not None
    arguments = {
        "renew": (),
        "begin": (OTHER,),
        "checkpoint": (0, b"a", [0], 0.1),
        "complete": ("etag",),
        "fail": ("why",),
        "release": ("failures", "why"),
    }[write]
    store.checkpoint(current, 0, b"current", [0], 0.1)
    before = row(store, current)
    with pytest.raises(LeaseLostError):
        getattr(store, write)(stale, *arguments)
    assert row(store, current) == before
    assert chunks(store, current) == [b"current"]


@pytest.mark.parametrize("end", ["complete", "fail"])
def test_a_terminal_state_never_changes(store: JobStore, end: str) -> None:
    claim = claimed(store)
    getattr(store, end)(claim, "x")
    before = row(store, claim)
    with pytest.raises(LeaseLostError):
        store.fail(claim, "later")
    assert store.claim(claim.job_id, "other") is None
    assert not store.expire(claim.job_id)
    assert row(store, claim) == before


def test_a_passing_error_sends_the_job_back_with_a_pause(store: JobStore) -> None:
    claim = claimed(store)
    assert store.release(claim, "failures", "storage away", delay=60)
    job = row(store, claim)
    assert (job.status, job.failures, job.crashes, job.error_message) == ("pending", 1, 0, "storage away")
    assert job.run_after == job.updated_at + 60_000_000
    assert store.claim(claim.job_id, "early") is None
    age(store, claim.job_id, run_after=61)
    assert store.claim(claim.job_id, "in time") is not None


def test_one_passing_error_too_many_fails_the_job(store: JobStore) -> None:
    job_id, _ = store.create(NEW)
    for waits in (True, True, False):
        claim = store.claim(job_id, "worker")
        assert claim is not None
        assert store.release(claim, "failures", "storage away") is waits
    job = stored(store, job_id)
    assert (job.status, job.error_message) == ("failed", f"{GAVE_UP}storage away")


@pytest.mark.parametrize("length", [1000 - len(GAVE_UP), 1001 - len(GAVE_UP), 1000])
def test_the_reason_of_a_job_that_is_given_up_has_at_most_1000_characters(
    store: JobStore, length: int
) -> None:
    reason = "x" * length
    job_id, _ = store.create(NEW)
    for _ in range(3):
        claim = store.claim(job_id, "worker")
        assert claim is not None
        store.release(claim, "failures", reason)
    whole = GAVE_UP + reason
    assert stored(store, job_id).error_message == (whole if len(whole) <= 1000 else f"{whole[:999]}…")


def test_a_committed_chunk_forgives_earlier_setbacks(store: JobStore) -> None:
    claim = claimed(store)
    store.release(claim, "failures", "x")
    again = store.claim(claim.job_id, "worker")
    assert again is not None
    store.checkpoint(again, 0, b"a", [0], 0.1)
    assert (row(store, again).failures, row(store, again).crashes) == (0, 0)


def test_an_interruption_counts_as_nothing(store: JobStore) -> None:
    claim = claimed(store)
    store.release(claim, "interruption", None)
    job = row(store, claim)
    assert (job.status, job.failures, job.crashes, job.attempt) == ("pending", 0, 0, 1)


def test_only_a_dead_lease_expires(store: JobStore) -> None:
    claim = claimed(store)
    assert not store.expire(claim.job_id)
    age(store, claim.job_id, lease_until=21)
    assert store.expire(claim.job_id)
    job = row(store, claim)
    assert (job.status, job.crashes, job.lease_until) == ("pending", 1, None)


def test_a_lease_that_ended_unnoticed_can_still_be_renewed(store: JobStore) -> None:
    claim = claimed(store)
    age(store, claim.job_id, lease_until=50)
    store.renew(claim)
    assert not store.expire(claim.job_id)
    job = row(store, claim)
    assert job.lease_until is not None
    assert job.lease_until > job.updated_at + 19_000_000


def test_after_a_failed_call_a_process_expires_nothing_until_others_could_renew(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = claimed(store)
    age(store, claim.job_id, lease_until=21)
    clock = time.monotonic()
    ours = SimpleNamespace(monotonic=lambda: clock, time_ns=time.time_ns)
    monkeypatch.setattr("videoqueue.jobs.database.time", ours)
    with pytest.raises(DatabaseUnavailableError), writing(store.engine):
        raise sa.exc.OperationalError("SELECT 1", None, Exception("the server is gone"))
    assert not store.expire(claim.job_id)
    clock += 7.9
    assert not store.expire(claim.job_id)
    clock += 0.2
    assert store.expire(claim.job_id)


@pytest.mark.parametrize("end", ["complete", "fail", "release"])
def test_the_time_of_every_attempt_is_added_up(store: JobStore, end: str) -> None:
    claim = claimed(store)
    assert claim.worked_seconds == 0
    for attempt in (1, 2):
        age(store, claim.job_id, claimed_at=100)
        assert store.release(claim, "interruption", None)
        assert row(store, claim).claimed_at is None
        again = store.claim(claim.job_id, "worker")
        assert again is not None
        claim = again
        assert claim.worked_seconds == pytest.approx(100 * attempt, abs=50)
    age(store, claim.job_id, claimed_at=100)
    getattr(store, end)(claim, *{"complete": ["e"], "fail": ["why"], "release": ["crashes", "why"]}[end])
    assert row(store, claim).claimed_at is None
    assert row(store, claim).worked / 1_000_000 == pytest.approx(300, abs=50)


def test_an_attempt_whose_worker_died_counts_to_the_end_of_its_lease(store: JobStore) -> None:
    claim = claimed(store)
    age(store, claim.job_id, claimed_at=1000, lease_until=900)
    job = row(store, claim)
    assert job.lease_until is not None
    assert job.claimed_at is not None
    assert store.expire(claim.job_id)
    assert row(store, claim).worked == job.lease_until - job.claimed_at
    assert row(store, claim).claimed_at is None


def test_a_clock_set_back_takes_no_time_off(store: JobStore) -> None:
    claim = claimed(store)
    age(store, claim.job_id, claimed_at=-1000)
    store.release(claim, "interruption", None)
    assert row(store, claim).worked == 0


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


def test_a_failed_job_is_tried_again_as_a_new_one(store: JobStore) -> None:
    claim = claimed(store)
    assert store.retry(claim.job_id, ALL_OWNERS) is None
    store.fail(claim, "why")
    again = store.retry(claim.job_id, ALL_OWNERS)
    assert again is not None
    old, new = row(store, claim), stored(store, again)
    assert (old.status, new.status, new.attempt, new.error_message) == ("failed", "pending", 0, None)
    assert [getattr(old, name) for name in vars(NEW)] == [getattr(new, name) for name in vars(NEW)]
    assert store.retry(uuid.uuid4(), ALL_OWNERS) is None


def test_a_job_tried_again_does_not_take_the_idempotency_key(store: JobStore) -> None:
    first, _ = store.create(NewJob(**vars(NEW) | {"idempotency_key": "k"}))
    claim = store.claim(first, "worker")
    assert claim is not None
    store.fail(claim, "why")
    again = store.retry(first, ALL_OWNERS)
    assert again is not None
    assert stored(store, again).idempotency_key is None


def test_a_job_whose_worker_keeps_dying_fails(store: JobStore) -> None:
    job_id, _ = store.create(NEW)
    for _ in range(2):
        assert store.claim(job_id, "worker") is not None
        age(store, job_id, lease_until=21)
        assert store.expire(job_id)
    job = stored(store, job_id)
    assert job.status == "failed"
    assert (job.error_message or "").startswith(
        "The worker stopped 2 times in a row while processing this video (VIDEOQUEUE_MAX_CRASHES): "
    )


def test_the_same_idempotency_key_gives_the_same_job(store: JobStore) -> None:
    keyed = NewJob(**vars(NEW) | {"idempotency_key": "k"})
    first, _ = store.create(keyed)
    assert store.create(NewJob(**vars(keyed) | {"input_key": "inputs/y.mp4"})) == (first, False)
    with pytest.raises(IdempotencyKeyReusedError):
        store.create(NewJob(**vars(keyed) | {"frame_stride": 3}))


def test_many_threads_that_want_one_job_get_it_once(store: JobStore) -> None:
    job_id, _ = store.create(NEW)
    start = threading.Barrier(5)
    claims = []

    def want(name: str) -> None:
        start.wait()
        claims.append(store.claim(job_id, name))

    threads = [threading.Thread(target=want, args=(str(number),)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([claim for claim in claims if claim is not None]) == 1
    assert row(store, next(claim for claim in claims if claim)).attempt == 1


def test_transactions_that_read_and_then_write_do_not_get_in_each_others_way(store: JobStore) -> None:
    jobs = [claimed(store) for _ in range(4)]
    start = threading.Barrier(4)
    failures: list[Exception] = []

    def work(claim: Claim) -> None:
        start.wait()
        try:
            for seq in range(25):
                age(store, claim.job_id, announce_after=0)
                store.checkpoint(claim, seq, b"x", [seq * 2], 0.1)
                store.release(claim, "interruption", None)
                assert store.take_announcements(1, [claim.job_id]) == [claim.job_id]
                again = store.claim(claim.job_id, "again")
                assert again is not None
                claim = again
        except (DatabaseUnavailableError, LeaseLostError, AssertionError) as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(claim,)) for claim in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [row(store, claim).attempt for claim in jobs] == [26] * 4


def test_deleting_a_job_deletes_its_results(store: JobStore, engine: Engine) -> None:
    claim = claimed(store)
    store.checkpoint(claim, 0, b"a", [0], 0.1)
    with engine.begin() as connection:
        connection.execute(sa.delete(JobRow))
        assert connection.scalar(sa.select(sa.func.count()).select_from(ResultChunk)) == 0


def test_an_unreachable_database_is_a_passing_error() -> None:
    url = "postgresql+psycopg://127.0.0.1:1/nowhere"
    engine = sa.create_engine(url, **engine_options(url, 1))
    prepare(engine)
    with pytest.raises(DatabaseUnavailableError):
        JobStore(engine, lease_policy()).get(uuid.uuid4(), ALL_OWNERS)
    engine.dispose()
