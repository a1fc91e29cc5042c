"""Where the next attempt of a job goes on, under the same version of the pipeline and under another."""

import pytest
import sqlalchemy as sa

from tests.support.job_rows import NEW, OTHER, OURS, chunks, claimed, claimed_again, row
from tests.support.records import stored
from videoqueue.jobs.store import JobStore
from videoqueue.jobs.tables import JobRow, ResultChunk


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
