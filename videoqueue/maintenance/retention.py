"""Removes what is old: ended jobs with their results and videos, videos without a job, traces of workers.

A row goes before its object: killed in between, an object without a row is left, which is collected later.
An object stays as long as any row refers to it; a new row may refer to an old object only while it holds the
lock of another row that does (`JobStore.retry`).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from videoqueue.failpoints import failpoint
from videoqueue.jobs.database import microseconds, now, reading, writing
from videoqueue.jobs.tables import HEARTBEAT, JOB
from videoqueue.storage import ObjectStorage

_DAY = 86_400

#: Keys that uploads are given. Whatever else lies in the storage is not ours to remove.
_INPUT_KEY = re.compile(r"inputs/[0-9a-f]{32}\.mp4")


class Retention:
    def __init__(self, engine: Engine, storage: ObjectStorage) -> None:
        self._engine = engine
        self._storage = storage

    def count_ended(self, days: float) -> int:
        """How many jobs ended more than `days` ago."""
        with reading(self._engine) as connection:
            ended = JOB.c.finished_at < now(connection) - microseconds(days * _DAY)
            return connection.execute(sa.select(sa.func.count()).where(ended)).scalar_one()

    def remove_ended(self, days: float, limit: int) -> int:
        """Removes at most `limit` jobs that ended more than `days` ago, the oldest first; says how many.

        Raises:
            DatabaseUnavailableError, StorageUnavailableError: the rest waits for another time.
        """
        with reading(self._engine) as connection:
            latest = now(connection) - microseconds(days * _DAY)
            old = sa.select(JOB.c.job_id).where(JOB.c.finished_at < latest)
            jobs = connection.scalars(old.order_by(JOB.c.finished_at).limit(limit)).all()
        return sum(self._remove(job_id, latest) for job_id in jobs)

    def _remove(self, job_id: uuid.UUID, latest: int) -> bool:
        # One transaction for each job: its results may be many megabytes, and others wait to write.
        gone = sa.delete(JOB).where(JOB.c.job_id == job_id, JOB.c.finished_at < latest)
        with writing(self._engine) as connection:
            key = connection.execute(gone.returning(JOB.c.input_key)).scalar_one_or_none()
        if key is None:
            return False
        failpoint("purger.row_deleted")
        for unneeded in self._unreferenced([key]):
            self._storage.delete(unneeded)
        failpoint("purger.object_deleted")
        return True

    def orphans(self, seconds: float, batch: int) -> Iterator[list[str]]:
        """Keys of videos older than `seconds` that no job refers to, looked up `batch` at a time."""
        keys = []
        for key in self._storage.list_older_than(seconds):
            if _INPUT_KEY.fullmatch(key):
                keys.append(key)
            if len(keys) == batch:
                yield self._unreferenced(keys)
                keys = []
        yield self._unreferenced(keys)

    def remove_orphans(self, keys: Sequence[str]) -> int:
        for key in keys:
            failpoint("purger.orphan_found")
            self._storage.delete(key)
        return len(keys)

    def _unreferenced(self, keys: Sequence[str]) -> list[str]:
        with reading(self._engine) as connection:
            query = sa.select(JOB.c.input_key).where(JOB.c.input_key.in_(keys))
            known = set(connection.scalars(query))
        return [key for key in keys if key not in known]

    def remove_unfinished(self, seconds: float) -> int:
        """Removes uploads that were cut off by a kill and not touched for `seconds`; says how many."""
        return self._storage.remove_stale(seconds)

    def forget_workers(self, seconds: float) -> int:
        """Removes the rows of workers that have given no sign of life for `seconds`; says how many."""
        with writing(self._engine) as connection:
            silent = HEARTBEAT.c.seen_at < now(connection) - microseconds(seconds)
            return connection.execute(sa.delete(HEARTBEAT).where(silent)).rowcount
