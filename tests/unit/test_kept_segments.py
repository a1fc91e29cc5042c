"""Segments are made once from stored results, kept, and removed with the job."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.records import new_job, stored
from videoqueue.errors import DatabaseUnavailableError, JobGoneError, VideoqueueError
from videoqueue.jobs.chunk_encoding import encode_chunk
from videoqueue.jobs.deletion import Deletions
from videoqueue.jobs.results import ResultReader, encode
from videoqueue.jobs.segments import JobSegments, remove_orphans
from videoqueue.jobs.store import JobStore
from videoqueue.jobs.tables import CHUNK, JOB, JOB_SEGMENTS
from videoqueue.jobs.types import ALL_OWNERS, OwnerLimits
from videoqueue.pipeline.decode.video_info import VideoInfo
from videoqueue.segments.build import VERSION
from videoqueue.segments.ranges import Segments

BLOCK = {"text": "GRÜSSE", "confidence": 0.9, "box": [1, 2, 30, 40]}
ITEMS: list[dict[str, Any]] = [
    {"frame_index": n, "result": {"text_blocks": [BLOCK] if n < 3 else [], "timestamp": n / 10}}
    for n in range(6)
]
TEXT = {"text": "GRÜSSE", "start": 0.0, "end": 0.3, "confidence": 0.9, "box": [1, 2, 30, 40]}


@pytest.fixture
def reader(store: JobStore) -> ResultReader:
    return ResultReader(store.engine)


@pytest.fixture
def job_id(store: JobStore, reader: ResultReader) -> uuid.UUID:
    """A completed job of anna, with a chunk of the release before and one of this release."""
    claim = store.claim(store.create(new_job(owner="anna"))[0], "worker")
    assert claim is not None
    store.checkpoint(claim, 0, encode(ITEMS[:2]), [0, 1], 0.3)
    chunk = encode_chunk(ITEMS[2:])
    store.checkpoint(claim, 1, chunk.payload, chunk.frames, 0.9, chunk.form)
    store.complete(claim, reader.etag(claim.job_id, ALL_OWNERS), VideoInfo(duration=0.6))
    return claim.job_id


def test_segments_are_made_once_and_kept(
    store: JobStore, reader: ResultReader, job_id: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    segments = JobSegments(store.engine, reader)
    first = segments.of(stored(store, job_id), "anna")
    assert first == {"labels": [], "texts": [TEXT], "truncated": False}
    monkeypatch.delattr(ResultReader, "items")
    assert segments.of(stored(store, job_id), "anna") == first


def test_the_kept_segments_of_another_owner_are_not_read(
    store: JobStore, reader: ResultReader, job_id: uuid.UUID
) -> None:
    segments = JobSegments(store.engine, reader)
    segments.of(stored(store, job_id), "anna")
    assert segments.kept(job_id, "anna") is not None
    assert segments.kept(job_id, "bert") is None


def test_segments_of_another_version_are_made_anew(
    store: JobStore, reader: ResultReader, job_id: uuid.UUID
) -> None:
    segments = JobSegments(store.engine, reader)
    segments.of(stored(store, job_id), ALL_OWNERS)
    with store.engine.begin() as connection:
        connection.execute(sa.update(JOB_SEGMENTS).values(version=0, payload=b""))
    assert segments.of(stored(store, job_id), ALL_OWNERS)["texts"] == [TEXT]
    with store.engine.connect() as connection:
        assert connection.execute(sa.select(JOB_SEGMENTS.c.version)).scalars().all() == [VERSION]


def test_damaged_results_have_no_segments(store: JobStore, reader: ResultReader, job_id: uuid.UUID) -> None:
    with store.engine.begin() as connection:
        connection.execute(sa.delete(CHUNK).where(CHUNK.c.seq == 1))
    segments = JobSegments(store.engine, reader)
    with pytest.raises(VideoqueueError, match="damaged"):
        segments.of(stored(store, job_id), ALL_OWNERS)
    assert segments.kept(job_id, ALL_OWNERS) is None


def test_a_database_that_refuses_to_keep_segments_does_not_hide_them(
    store: JobStore, reader: ResultReader, job_id: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise DatabaseUnavailableError("full")

    monkeypatch.setattr(JobSegments, "keep", refuse)
    segments = JobSegments(store.engine, reader)
    assert segments.of(stored(store, job_id), ALL_OWNERS)["texts"] == [TEXT]


def test_segments_are_removed_with_the_job(store: JobStore, reader: ResultReader, job_id: uuid.UUID) -> None:
    segments = JobSegments(store.engine, reader)
    made = segments.of(stored(store, job_id), ALL_OWNERS)
    assert Deletions(store.engine, OwnerLimits()).delete(job_id, ALL_OWNERS)
    with store.engine.connect() as connection:
        assert connection.execute(sa.select(JOB_SEGMENTS)).all() == []
    # Made by a request that was under way.
    segments.keep(job_id, made)
    with store.engine.connect() as connection:
        assert connection.execute(sa.select(JOB_SEGMENTS)).all() == []


def test_a_job_that_is_deleted_while_its_segments_are_made_is_gone_and_not_damaged(
    store: JobStore, reader: ResultReader, job_id: uuid.UUID
) -> None:
    job = stored(store, job_id)
    reads = iter(range(9))

    def delete_at_second_read() -> None:
        if next(reads) == 1:
            Deletions(store.engine, OwnerLimits()).delete(job_id, ALL_OWNERS)

    with pytest.raises(JobGoneError, match="deleted while its results were read"):
        JobSegments(store.engine, reader).of(job, ALL_OWNERS, delete_at_second_read)
    with store.engine.connect() as connection:
        assert connection.execute(sa.select(JOB_SEGMENTS)).all() == []


def test_two_that_make_the_segments_at_once_keep_them_once(
    store: JobStore, reader: ResultReader, job_id: uuid.UUID
) -> None:
    job = stored(store, job_id)
    both = threading.Barrier(2)

    def make(_: int) -> Segments:
        met: list[int] = []

        def meet_once() -> None:
            if not met:
                met.append(both.wait(30))

        return JobSegments(store.engine, reader).of(job, ALL_OWNERS, meet_once)

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(make, range(2))
    assert first == second == JobSegments(store.engine, reader).kept(job_id, ALL_OWNERS)
    with store.engine.connect() as connection:
        assert len(connection.execute(sa.select(JOB_SEGMENTS)).all()) == 1


def test_segments_of_jobs_that_the_release_before_deleted_are_removed(
    store: JobStore, reader: ResultReader, job_id: uuid.UUID
) -> None:
    segments = JobSegments(store.engine, reader)
    segments.of(stored(store, job_id), ALL_OWNERS)
    assert remove_orphans(store.engine, 10) == 0
    assert segments.kept(job_id, ALL_OWNERS) is not None
    with store.engine.begin() as connection:
        connection.execute(sa.delete(JOB))
    assert remove_orphans(store.engine, 10) == 1
    assert remove_orphans(store.engine, 10) == 0
