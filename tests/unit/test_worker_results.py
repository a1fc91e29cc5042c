"""Which results `run_job` stores: chunks, their limit, what an earlier attempt left, segments."""

import hashlib
import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest
import sqlalchemy as sa

from tests.support.scripted_runs import ITEMS, Run, Script, folder, job_id, noise, results, row, run
from videoqueue.errors import (
    DatabaseUnavailableError,
)
from videoqueue.jobs.results import ResultReader, encode
from videoqueue.jobs.segments import JobSegments
from videoqueue.jobs.tables import CHUNK
from videoqueue.jobs.types import ALL_OWNERS, Job
from videoqueue.pipeline.results import FrameItem
from videoqueue.sandbox.protocol import Alive, Begun, Seen
from videoqueue.services import Services

__all__ = ["folder", "job_id", "run"]


@pytest.mark.parametrize(
    ("text", "count"),
    [(lambda: noise(2 * 1024**2), 2), (lambda: "x" * 3 * 1024**2, 6)],
    ids=["as stored", "as served"],
)
def test_many_bytes_of_results_are_committed_before_the_next_frame(
    services: Services, job_id: uuid.UUID, run: Run, text: Callable[[], str], count: int
) -> None:
    object.__setattr__(services.settings, "checkpoint_seconds", 1000.0)
    seen: list[int] = []
    steps: list[Any] = []
    for index in range(count + 1):
        item: Any = {"frame_index": index, "result": {"text": f"{index}{text()}", "timestamp": 0.5}}
        steps += [Seen(item), lambda: seen.append(len(results(services, job_id)))]
    run(Script(*steps))(job_id)
    assert seen == [0] * (count - 1) + [count, count]


def test_equal_results_are_stored_once_and_served_for_each_frame(
    services: Services, job_id: uuid.UUID, run: Run
) -> None:
    text = noise(30_000)
    items: list[Any] = [
        {"frame_index": index, "result": {"timestamp": index / 25, "text": text}} for index in range(300)
    ]
    run(Script(*map(Seen, items)))(job_id)
    job = row(services, job_id)
    served = b"[" + encode(items) + b"]"
    assert (job.results_etag, job.result_bytes) == (hashlib.sha256(served).hexdigest(), len(served))
    assert results(services, job_id) == items
    with services.store.engine.connect() as connection:
        (chunk,) = connection.execute(sa.select(CHUNK))
    assert len(chunk.payload) < 40_000
    assert (chunk.first_frame, chunk.last_index, chunk.frame_count) == (0, 299, 300)
    assert (chunk.first_time, chunk.served_bytes) == (0.0, len(served) - 2)


def _large(count: int) -> list[Any]:
    """Items that have a megabyte together for each ten."""
    block = {"text": "x" * 100_000, "confidence": 0.9, "box": [1, 2, 3, 4]}
    return [
        {"frame_index": index, "result": {"text_blocks": [block], "timestamp": index / 10}}
        for index in range(count)
    ]


@pytest.mark.parametrize(("count", "ranges"), [(9, None), (10, 1)])
def test_segments_of_large_results_are_made_after_the_job_is_completed(
    services: Services, job_id: uuid.UUID, run: Run, count: int, ranges: int | None
) -> None:
    assert run(Script(*map(Seen, _large(count))))(job_id) is None
    assert row(services, job_id).status == "completed"
    kept = services.segments.kept(job_id, ALL_OWNERS)
    assert (None if kept is None else len(kept["texts"])) == ranges


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("a bug"), "Making segments met a bug."),
        (DatabaseUnavailableError("away"), "Segments not made."),
        (MemoryError(), "Making segments met a bug."),
    ],
)
def test_segments_that_cannot_be_made_do_not_change_the_outcome_of_the_job(
    services: Services,
    job_id: uuid.UUID,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    said: str,
) -> None:
    def fail(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(JobSegments, "keep", fail)
    monkeypatch.setattr(JobSegments, "kept", fail)
    assert run(Script(*map(Seen, _large(10))))(job_id) is None
    assert row(services, job_id).status == "completed"
    assert [line.message for line in caplog.records if line.levelno >= logging.WARNING] == [said]


def test_a_worker_that_stops_gives_up_the_segments(
    services: Services,
    job_id: uuid.UUID,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stopping = threading.Event()
    read = ResultReader.items

    def stop_and_read(*arguments: Any) -> Iterator[FrameItem]:
        stopping.set()
        return read(*arguments)

    monkeypatch.setattr(ResultReader, "items", stop_and_read)
    caplog.set_level(logging.INFO)
    assert run(Script(*map(Seen, _large(10))), stopping)(job_id) is None
    assert row(services, job_id).status == "completed"
    assert "Segments not made: the worker stops." in caplog.messages
    assert services.segments.kept(job_id, ALL_OWNERS) is None


def test_a_small_chunk_grows_with_each_commit_and_a_large_one_ends(
    services: Services, job_id: uuid.UUID, run: Run
) -> None:
    object.__setattr__(services.settings, "checkpoint_seconds", 1e-9)
    texts = ["still"] * 100 + [noise(100_000), noise(100_000), noise(200_000), "x", "y"]
    items: list[Any] = [
        {"frame_index": 2 * index, "result": {"text": text, "timestamp": index / 25}}
        for index, text in enumerate(texts)
    ]
    seen: list[int] = []
    steps: list[Any] = []
    for item in items:
        steps += [Seen(item), lambda: seen.append(len(results(services, job_id)))]
    run(Script(*steps))(job_id)
    assert seen == list(range(1, len(items) + 1))
    assert results(services, job_id) == items
    with services.store.engine.connect() as connection:
        chunks = connection.execute(sa.select(CHUNK).order_by(CHUNK.c.seq)).all()
    assert [(chunk.seq, chunk.first_frame, chunk.last_index, chunk.frame_count) for chunk in chunks] == [
        (0, 0, 202, 102),
        (1, 204, 204, 1),
        (2, 206, 208, 2),
    ]


def test_an_attempt_adds_to_its_own_chunks_only(services: Services, job_id: uuid.UUID, run: Run) -> None:
    object.__setattr__(services.settings, "checkpoint_seconds", 1e-9)
    stopping = threading.Event()
    run(Script(Seen(ITEMS[0]), Seen(ITEMS[1]), stopping.set), stopping)(job_id)
    run(Script(Seen(ITEMS[2]), Seen(ITEMS[3])))(job_id)
    with services.store.engine.connect() as connection:
        chunks = connection.execute(sa.select(CHUNK.c.seq, CHUNK.c.frame_count).order_by(CHUNK.c.seq)).all()
    assert [tuple(chunk) for chunk in chunks] == [(0, 2), (1, 2)]
    assert results(services, job_id) == ITEMS


LIMIT = len(b"[" + encode(ITEMS) + b"]")


@pytest.mark.parametrize(
    ("limit", "status"), [(LIMIT, "completed"), (LIMIT - 1, "failed"), (1, "failed"), (0, "completed")]
)
@pytest.mark.parametrize("first", [0, 1, 3], ids=["at once", "resumed", "resumed at the end"])
def test_results_beyond_the_limit_fail_the_job_however_its_attempts_were_split(
    services: Services, job_id: uuid.UUID, run: Run, limit: int, status: str, first: int
) -> None:
    if first:
        object.__setattr__(services.settings, "checkpoint_seconds", 1e-9)  # each result is a chunk
        stopping = threading.Event()
        run(Script(*map(Seen, ITEMS[:first]), stopping.set), stopping)(job_id)
        assert row(services, job_id).status == "pending"
    object.__setattr__(services.settings, "max_result_bytes", limit)
    assert run(Script(*map(Seen, ITEMS[first:])))(job_id) is None
    job = row(services, job_id)
    assert job.status == status
    if status == "failed":
        assert job.error_code == "results_too_large"
        assert job.error_message == (
            f"The results are larger than {limit} bytes (VIDEOQUEUE_MAX_RESULT_BYTES). Submit the video with "
            "a larger frame_stride or a lower max_frames, or ask for a higher limit."
        )


def test_the_next_attempt_goes_on_behind_the_last_chunk(
    services: Services, job_id: uuid.UUID, run: Run
) -> None:
    stopping = threading.Event()
    run(Script(Seen(ITEMS[0]), Seen(ITEMS[1]), stopping.set), stopping)(job_id)
    script = Script(*map(Seen, ITEMS[2:]))
    run(script)(job_id)
    assert script.tasks[0].start_after == 1
    assert row(services, job_id).status == "completed"
    assert results(services, job_id) == ITEMS


def test_an_attempt_under_another_version_begins_anew(
    services: Services, job_id: uuid.UUID, run: Run
) -> None:
    stopping = threading.Event()
    run(Script(Alive(0.9), Seen(ITEMS[0]), Seen(ITEMS[1]), stopping.set), stopping)(job_id)
    before = row(services, job_id)
    others: list[Any] = [{"frame_index": index, "result": {"text": "other"}} for index in range(4)]
    seen: list[Job] = []
    script = Script(lambda: seen.append(row(services, job_id)), *map(Seen, others), version="b" * 64)
    run(script)(job_id)
    assert (script.tasks[0].start_after, script.tasks[0].version) == (1, "a" * 64)
    assert (before.pipeline_version, before.progress) == ("a" * 64, 0.9)
    assert (seen[0].pipeline_version, seen[0].progress) == ("b" * 64, 0.0)
    assert row(services, job_id).status == "completed"
    assert results(services, job_id) == others


def test_a_version_that_changes_within_an_attempt_begins_anew(
    services: Services, job_id: uuid.UUID, run: Run
) -> None:
    """As when a task is tried once more in a fresh process, and a model was replaced meanwhile."""
    object.__setattr__(services.settings, "checkpoint_seconds", 1e-9)
    others: list[Any] = [{"frame_index": index, "result": {"text": "other"}} for index in range(2)]
    later = Begun("b" * 64)
    run(Script(Seen(ITEMS[0]), Seen(ITEMS[1]), later, *map(Seen, others)))(job_id)
    assert results(services, job_id) == others
    assert row(services, job_id).pipeline_version == "b" * 64


def test_what_is_not_yet_committed_goes_too_when_the_version_changes(
    services: Services, job_id: uuid.UUID, run: Run
) -> None:
    others: list[Any] = [{"frame_index": index, "result": {"text": "other"}} for index in range(2)]
    run(Script(Seen(ITEMS[0]), Seen(ITEMS[1]), Begun("b" * 64), *map(Seen, others)))(job_id)
    assert results(services, job_id) == others


def test_a_fresh_process_of_the_same_version_goes_on_in_the_middle(
    services: Services, job_id: uuid.UUID, run: Run
) -> None:
    run(Script(Seen(ITEMS[0]), Begun("a" * 64), Seen(ITEMS[1])))(job_id)
    assert results(services, job_id) == ITEMS[:2]
