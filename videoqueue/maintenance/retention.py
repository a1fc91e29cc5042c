"""Removes old data: ended jobs with their results and videos; videos, segments and webhook events without a
job; unfinished uploads, and expired sessions.

A job's row is removed before its video (`videoqueue.jobs.deletion`). What a process killed in between leaves,
the next round removes. A video stays as long as any row refers to it. `JobStore.retry` adds a row for an old
video only while it holds the lock of another such row.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from videoqueue.failpoints import failpoint
from videoqueue.jobs import segments, sessions, webhooks
from videoqueue.jobs.deletion import Deletions
from videoqueue.jobs.queries import JobQueries
from videoqueue.jobs.store import JobStore
from videoqueue.jobs.types import OwnerScope
from videoqueue.maintenance.removal import Remover
from videoqueue.storage import ObjectStorage

_DAY_SECONDS = 86_400

#: The keys of uploads. Other objects in the storage belong to somebody else and stay.
_INPUT_KEY = re.compile(r"inputs/[0-9a-f]{32}\.mp4")


@dataclass(frozen=True, kw_only=True)
class Removed:
    """How much one step of a round removed."""

    jobs: int = 0
    #: Unfinished uploads, left by killed processes.
    uploads: int = 0
    #: Videos without a job.
    videos: int = 0

    def __add__(self, other: Removed) -> Removed:
        return Removed(
            jobs=self.jobs + other.jobs,
            uploads=self.uploads + other.uploads,
            videos=self.videos + other.videos,
        )


class Retention:
    """Finds and removes old data. Several processes may do so at the same time.

    All methods raise DatabaseUnavailableError or StorageUnavailableError when the database or the storage
    cannot be used. What is left is removed by a later call.
    """

    def __init__(self, store: JobStore, storage: ObjectStorage) -> None:
        self._engine = store.engine
        self._queries = JobQueries(store.engine)
        self._deletions = Deletions(store.engine, store.limits)
        self._remover = Remover(store.engine, storage, store.limits)
        self._storage = storage

    def round(
        self, owner: OwnerScope, days: float | None, orphan_seconds: float, batch: int
    ) -> Iterator[Removed]:
        """Removes old data in steps. Yields after each step how much it removed.

        Args:
            owner: whose jobs are removed. What belongs to no job, and sessions that have expired, are removed
                for any.
            days: the minimum age of jobs since their end; None keeps all jobs.
            orphan_seconds: the minimum age of unfinished uploads and of videos without a job.
            batch: the maximum number of rows or objects of one step.
        """
        while sessions.remove_expired(self._engine, batch) == batch:
            yield Removed()
        while segments.remove_orphans(self._engine, batch) == batch:
            yield Removed()
        while webhooks.remove_orphans(self._engine, batch) == batch:
            yield Removed()
        while count := self.finish_deletions(batch):
            yield Removed(videos=count)
        while days is not None and (jobs := self.remove_ended(owner, days, batch)):
            yield Removed(jobs=jobs)
        uploads = self._storage.remove_stale(orphan_seconds)
        for keys in self.orphans(orphan_seconds, batch):
            yield Removed(uploads=uploads, videos=self.remove_orphans(keys))
            uploads = 0

    def finish_deletions(self, limit: int) -> int:
        """Removes the videos of at most `limit` jobs whose deletion was interrupted, whatever their age.

        Returns:
            The number of jobs.
        """
        unfinished = self._deletions.unfinished(limit)
        for deleted in unfinished:
            failpoint("purger.deletion_found")
            self._remover.finish(deleted)
        return len(unfinished)

    def unfinished_deletions(self) -> list[str]:
        """Returns the keys of the videos that `finish_deletions` would remove."""
        return [
            deleted.input_key
            for deleted in self._deletions.unfinished()
            if not self._deletions.is_needed(deleted)
        ]

    def count_ended(self, owner: OwnerScope, days: float) -> int:
        """Returns the number of the owner's jobs that ended more than `days` ago."""
        return self._queries.count_ended(owner, days * _DAY_SECONDS)

    def remove_ended(self, owner: OwnerScope, days: float, limit: int) -> int:
        """Removes at most `limit` of the owner's jobs that ended more than `days` ago, the oldest first.

        Returns:
            The number of removed jobs.
        """
        before, jobs = self._queries.ended(owner, days * _DAY_SECONDS, limit)
        return sum(self._remove(job_id, owner, before) for job_id in jobs)

    def _remove(self, job_id: uuid.UUID, owner: OwnerScope, before: int) -> bool:
        # One transaction for each job: its results may be many megabytes, and SQLite has one writer at a
        # time.
        deleted = self._deletions.delete(job_id, owner, before)
        if deleted is None:
            return False
        failpoint("purger.row_deleted")
        self._remover.finish(deleted)
        failpoint("purger.object_deleted")
        return True

    def orphans(self, seconds: float, batch: int) -> Iterator[list[str]]:
        """Yields keys of videos older than `seconds` that no job refers to, in lists of at most `batch`."""
        keys = []
        for key in self._storage.list_older_than(seconds):
            if _INPUT_KEY.fullmatch(key):
                keys.append(key)
            if len(keys) == batch:
                yield self._queries.unreferenced(keys)
                keys = []
        yield self._queries.unreferenced(keys)

    def remove_orphans(self, keys: Sequence[str]) -> int:
        """Removes the videos with these keys.

        Returns:
            The number of keys.
        """
        for key in keys:
            failpoint("purger.orphan_found")
            self._storage.delete(key)
        return len(keys)
