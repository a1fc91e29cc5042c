"""Many jobs at once that nobody was told about, as after a long outage of the queue."""

from __future__ import annotations

import hashlib
import statistics
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

import sqlalchemy as sa

from tests.chaos.catalogue import Catalogue, Submission
from tests.chaos.client import Client, Observed
from tests.chaos.service import WORKERS, ChaosService
from tests.support.records import lease_policy
from videoqueue.broker import QUEUE
from videoqueue.jobs.changes import new_row
from videoqueue.jobs.database import now, writing
from videoqueue.jobs.tables import JOB
from videoqueue.jobs.types import NOBODY, NewJob

#: Status must stay quick; far above what it takes, so that only a queue in front of it counts.
_STATUS_SECONDS = 2.0
_LOOK_SECONDS = 0.1


def drain_backlog(
    folder: Path, database: str, jobs: int, seconds: float, settings: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """Inserts so many pending rows and watches two workers do them; what was broken, and the report."""
    with ChaosService(folder, database, settings) as service:
        video = Catalogue(folder, service.workplace.pipelines).quick
        with service.without(*WORKERS):
            job_ids = _insert(service, video, jobs)
        watch = _Watch(service, job_ids)
        watch.until_drained(seconds)
        return watch.broken(), watch.report()


def _insert(service: ChaosService, video: Submission, count: int) -> list[uuid.UUID]:
    key = f"inputs/{uuid.uuid4().hex}.mp4"
    service.storage.put(key, video.content)
    new = NewJob(
        owner=NOBODY,
        pipeline_id="quick",
        frame_stride=1,
        max_frames=1,
        input_key=key,
        input_bytes=len(video.content),
        input_sha256=hashlib.sha256(video.content).hexdigest(),
    )
    job_ids = [uuid.uuid4() for _ in range(count)]
    with writing(service.database.engine) as connection:
        time = now(connection)
        rows = [new_row(job_id, new, time, lease_policy(announce_seconds=0.0)) for job_id in job_ids]
        connection.execute(sa.insert(JOB), rows)
    return job_ids


class _Watch:
    def __init__(self, service: ChaosService, job_ids: list[uuid.UUID]) -> None:
        self._service = service
        self._job_ids = job_ids
        self._observed = Observed()
        self._client = Client(service.url, self._observed)
        self._pending = len(job_ids)
        self._longest = 0
        self._overfull: list[str] = []
        self._seconds = 0.0

    def until_drained(self, seconds: float) -> None:
        began = time.monotonic()
        while self._pending and (passed := time.monotonic() - began) < seconds:
            self._look()
            self._seconds = passed
            time.sleep(_LOOK_SECONDS)

    def _look(self) -> None:
        # The queue is read first: jobs that end in between make it look longer, never shorter.
        length = self._service.valkey.length(QUEUE)
        before = self._pending
        ((self._pending,),) = self._service.database.rows(
            "SELECT count(*) FROM job WHERE status NOT IN ('completed', 'failed')"
        )
        self._longest = max(self._longest, length)
        if length > 2 * before:
            self._overfull.append(f"{length} messages for {before} jobs that wait")
        self._client.status(self._job_ids[-1])

    def broken(self) -> list[str]:
        rows = self._service.database.rows("SELECT status, count(*) FROM job GROUP BY status")
        counts = {status: count for status, count in rows}
        broken = [*self._overfull, *self._observed.bugs]
        if counts != {"completed": len(self._job_ids)}:
            broken.append(f"after {self._seconds:.0f} s the jobs are {counts}")
        if (slowest := max(self._observed.status_seconds)) > _STATUS_SECONDS:
            broken.append(f"status took {slowest:.2f} s")
        return broken

    def report(self) -> list[str]:
        status = self._observed.status_seconds
        rate = len(self._job_ids) / self._seconds if self._seconds else 0.0
        return [
            f"backlog      {len(self._job_ids)} jobs, drained in {self._seconds:.0f} s ({rate:.0f} a second)",
            f"queue        at most {self._longest} messages",
            f"status       median {statistics.median(status):.3f} s, maximum {max(status):.3f} s "
            f"({len(status)} answered)",
        ]
