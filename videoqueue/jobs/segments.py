"""The segments of completed jobs: made from the stored results when they are first asked for, and kept."""

from __future__ import annotations

import json
import logging
import uuid
import zlib
from collections.abc import Callable, Iterator
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from videoqueue.causes import cause_fields
from videoqueue.errors import DatabaseUnavailableError
from videoqueue.jobs.database import reading, writing
from videoqueue.jobs.results import ResultReader
from videoqueue.jobs.tables import JOB, JOB_SEGMENTS, owned_by
from videoqueue.jobs.types import Job, OwnerScope
from videoqueue.pipeline.decode.video_info import VideoInfo
from videoqueue.pipeline.results import FrameItem
from videoqueue.segments.build import VERSION, segments_of
from videoqueue.segments.ranges import Segments

logger = logging.getLogger(__name__)

_LEVEL: Final = 1


class JobSegments:
    """Reads, makes and keeps segments.

    All methods raise DatabaseUnavailableError when the database cannot be read.
    """

    def __init__(self, engine: Engine, results: ResultReader) -> None:
        self._engine = engine
        self._results = results

    def of(self, job: Job, owner: OwnerScope, before_read: Callable[[], None] = lambda: None) -> Segments:
        """Returns the segments of a completed job.

        Args:
            job: the job.
            owner: whose jobs may be read.
            before_read: called before each read of stored results, which can be many.

        Raises:
            JobGoneError: the job was deleted in the meantime.
            VideoqueueError: the stored results are damaged.
        """
        kept = self.kept(job.job_id, owner)
        if kept is not None:
            return kept

        def items() -> Iterator[FrameItem]:
            return self._results.items(job.job_id, owner, job.results_etag or "", before_read)

        made = segments_of(items, video_of(job))
        before_read()
        try:
            self.keep(job.job_id, made)
        except DatabaseUnavailableError as error:
            # The response needs no row. A database that is full or read-only can still be read.
            logger.warning("Segments were not kept.", extra={"job_id": job.job_id, **cause_fields(error)})
        return made

    def kept(self, job_id: uuid.UUID, owner: OwnerScope) -> Segments | None:
        """Returns the kept segments of a job; None if there are none of this version of the rules."""
        query = (
            sa.select(JOB_SEGMENTS.c.payload)
            .join(JOB, JOB.c.job_id == JOB_SEGMENTS.c.job_id)
            .where(JOB.c.job_id == job_id, JOB_SEGMENTS.c.version == VERSION, owned_by(owner))
        )
        with reading(self._engine) as connection:
            payload = connection.execute(query).scalar_one_or_none()
        if payload is None:
            return None
        segments: Segments = json.loads(zlib.decompress(payload))
        return segments

    def keep(self, job_id: uuid.UUID, segments: Segments) -> None:
        """Keeps the segments of a completed job. Does nothing if the job is gone.

        Raises:
            DatabaseUnavailableError: the database cannot be written.
        """
        text = json.dumps(segments, ensure_ascii=False, separators=(",", ":")).encode()
        values = {"job_id": job_id, "version": VERSION, "payload": zlib.compress(text, _LEVEL)}
        with writing(self._engine) as connection:
            # The lock makes a deletion wait, so that no row stays behind.
            job = sa.select(JOB.c.job_id).where(JOB.c.job_id == job_id, JOB.c.status == "completed")
            if connection.execute(job.with_for_update()).one_or_none() is not None:
                connection.execute(sa.delete(JOB_SEGMENTS).where(JOB_SEGMENTS.c.job_id == job_id))
                connection.execute(sa.insert(JOB_SEGMENTS).values(values))


def remove_orphans(engine: Engine, limit: int) -> int:
    """Removes at most `limit` segments of jobs that an older release has deleted.

    Returns:
        The number of jobs.
    """
    gone = sa.select(JOB_SEGMENTS.c.job_id).where(~sa.exists().where(JOB.c.job_id == JOB_SEGMENTS.c.job_id))
    with writing(engine) as connection:
        found = connection.scalars(gone.limit(limit)).all()
        connection.execute(sa.delete(JOB_SEGMENTS).where(JOB_SEGMENTS.c.job_id.in_(found)))
    return len(found)


def video_of(job: Job) -> VideoInfo:
    """Returns what is known about the video of a job."""
    return VideoInfo(
        damaged_frames=job.damaged_frames,
        width=job.width,
        height=job.height,
        fps=job.fps,
        duration=job.duration,
        codec=job.codec,
    )
