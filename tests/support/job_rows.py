"""Jobs in the database, and what their rows hold."""

import uuid

import sqlalchemy as sa

from tests.support.records import new_job, stored
from videoqueue.jobs.store import Claim, JobStore
from videoqueue.jobs.tables import JobRow, ResultChunk
from videoqueue.jobs.types import Job
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
