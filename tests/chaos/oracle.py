"""What must hold when everything has come to rest: each broken promise is a line of text."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from tests.chaos.catalogue import Catalogue
from tests.chaos.client import Client, Observed, Submitted, new_key
from tests.chaos.service import WORKERS, ChaosService
from tests.chaos.transitions import DELETED, TERMINAL, Transition
from tests.support.stack import eventually
from videoqueue.jobs.tables import JOB, Base

_LEGAL = {(None, "pending"), ("pending", "running")} | {
    ("running", after) for after in ("pending", "completed", "failed")
}
_LEGAL |= {(before, DELETED) for before in ("pending", "running", "completed", "failed")}
#: An event that was taken before the deletion may still be sent; a process can be frozen in between.
_ON_ITS_WAY_SECONDS = 10.0
_COMPLETED_LINE = re.compile(r"\[job_id=(\S+) attempt=(\d+)\] Job completed\.")


class Oracle:
    def __init__(self, service: ChaosService) -> None:
        self._service = service
        self._client = Client(service.direct_url, Observed(), key=service.admin_key)

    def broken(self, submitted: Iterable[Submitted]) -> list[str]:
        """Every promise that was broken; the service must still be running."""
        submitted = list(submitted)
        self._service.await_ready()
        return [
            *(line for one in submitted for line in self._outcome(one)),
            *self._deletions(submitted),
            *self._once_for_each_key(submitted),
            *self._transitions(),
            *self._owners(),
            *self._leases(),
            *self._counts(),
            *self._told(),
            *self._processes(),
            *self._files(),
            *self._objects(),
        ]

    def still_serves(self, catalogue: Catalogue) -> list[str]:
        """Whether one more job runs as if nothing had happened."""
        submitted = self._client.submit(catalogue.quick, new_key(), lambda: True)
        if submitted.job_id is None:
            return ["the service takes no job any more"]
        ended = ("completed", "failed")
        eventually(lambda: self._client.status(submitted.accepted) in ended, "one more job ends")
        return list(self._outcome(submitted))

    def _outcome(self, submitted: Submitted) -> Iterator[str]:
        wanted, job_id = submitted.submission, submitted.job_id
        name = f"{wanted.name} ({job_id or submitted.key})"
        if submitted.deletion_asked:
            if not submitted.deleted:
                yield f"{name}: its deletion was never decided"
            return
        if job_id is None:
            if submitted.code is None or submitted.code != wanted.refused:
                yield f"{name}: refused with {submitted.code}, expected {wanted.refused or 'a job'}"
            return
        status = self._client.status(job_id)
        if wanted.golden is not None:
            if status != "completed":
                yield f"{name}: LOST, it is {status} ({self._client.error(job_id)})"
            elif self._client.results(job_id) != wanted.golden:
                yield f"{name}: its results are not those of an undisturbed run"
        elif wanted.fails is None:
            yield f"{name}: accepted, expected {wanted.refused}"
        elif status != "failed" or wanted.fails not in self._client.error(job_id):
            yield f"{name}: {status} ({self._client.error(job_id)}), expected a failure with {wanted.fails!r}"

    def _deletions(self, submitted: list[Submitted]) -> Iterator[str]:
        """Nothing is left of a deleted job. Its video, which another job may have, is for `_objects`."""
        logged = self._service.log.by_job()
        for job_id in (one.accepted for one in submitted if one.deleted):
            yield from (f"deleted: {line}" for line in self._client.found_of(job_id))
            if logged[job_id][-1].after != DELETED:
                yield f"{job_id}: it is deleted for its client, but not in the database"
        self._service.collect()
        tables = [table for table in Base.metadata.sorted_tables if "job_id" in table.c and table is not JOB]
        for table in tables:
            query = f"SELECT DISTINCT job_id FROM {table.name} WHERE job_id NOT IN (SELECT job_id FROM job)"
            for (job_id,) in self._service.database.rows(query):
                yield f"{job_id}: it has no row, but one in {table.name}"

    def _once_for_each_key(self, submitted: list[Submitted]) -> Iterator[str]:
        rows = self._service.database.rows(
            "SELECT idempotency_key, job_id FROM job WHERE idempotency_key IS NOT NULL"
        )
        by_key = {key: uuid.UUID(str(job_id)) for key, job_id in rows}
        if len(by_key) != len(rows):
            yield "an Idempotency-Key has two jobs"
        for one in submitted:
            if one.job_id is None or one.deleted or not one.key:
                continue
            if by_key.get(one.key) != one.job_id:
                yield f"{one.job_id}: its Idempotency-Key belongs to {by_key.get(one.key)}"

    def _transitions(self) -> Iterator[str]:
        jobs = {uuid.UUID(str(job_id)) for (job_id,) in self._service.database.rows("SELECT job_id FROM job")}
        logged = self._service.log.by_job()
        for job_id in jobs | set(logged):
            yield from (f"{job_id}: {line}" for line in faults_of(logged[job_id]))
            if (logged[job_id][-1].after == DELETED) == (job_id in jobs):
                yield f"{job_id}: its row and its last transition contradict each other"

    def _owners(self) -> Iterator[str]:
        """Only the attempt that owned the job at its end may report that it has completed it."""
        last = {t.job_id: t.attempt for t in self._service.log.transitions() if t.after == "completed"}
        reports = [
            (uuid.UUID(job_id), int(attempt))
            for name in WORKERS
            for job_id, attempt in _COMPLETED_LINE.findall(self._service.keeper.log(name))
        ]
        for job_id, count in Counter(job_id for job_id, _ in reports).items():
            if count > 1:
                yield f"{job_id}: {count} attempts report that they completed it"
        for job_id, attempt in reports:
            if last.get(job_id) != attempt:
                yield f"{job_id}: attempt {attempt} completed it, but attempt {last.get(job_id)} owned it"

    def _leases(self) -> Iterator[str]:
        ended = "status IN ('completed', 'failed') AND lease_until IS NULL"
        for job_id, status in self._service.database.rows(
            f"SELECT job_id, status FROM job WHERE NOT ({ended})"
        ):
            yield f"{job_id}: still {status}"

    def _counts(self) -> Iterator[str]:
        """Every transition is counted once, whatever was killed."""
        log = self._service.log.transitions()
        changes = Counter((one.before, one.after) for one in log)
        expected = {
            "videoqueue_jobs_submitted": changes[None, "pending"],
            "videoqueue_job_wait_seconds": len({one.job_id for one in log if one.after == "running"}),
            **{f"videoqueue_jobs_finished {after}": changes["running", after] for after in TERMINAL},
            **{f"videoqueue_job_duration_seconds {after}": changes["running", after] for after in TERMINAL},
            "videoqueue_jobs_finished deleted": changes["pending", DELETED] + changes["running", DELETED],
        }
        found = self._client.metrics()
        for name, number in expected.items():
            if found[name] != number:
                yield f"{name} is {found[name]}, but there were {number} such transitions"
        # The setback that fails a job counts too. The log does not tell it from an error of the video.
        setbacks, back = found["videoqueue_job_setbacks"], changes["running", "pending"]
        if not back <= setbacks <= back + changes["running", "failed"]:
            yield f"videoqueue_job_setbacks is {setbacks}, but {back} attempts ended in pending"
        if not changes["completed", DELETED] and found["videoqueue_frames"] != (frames := self._frames()):
            yield f"videoqueue_frames is {found['videoqueue_frames']}, but completed jobs have {frames}"

    def _told(self) -> Iterator[str]:
        """Every end is told, no other is, and none of a job that was deleted before."""
        self._service.await_told()
        receiver = self._service.receiver
        yield from receiver.broken
        told = list(receiver.told)
        accepted = {(one.job_id, one.status) for one in told if one.accepted}
        for job_id, way in self._service.log.by_job().items():
            ends = {(job_id, one.after) for one in way if one.after in TERMINAL}
            deleted = [one.at / 1_000_000 for one in way if one.after == DELETED]
            if not deleted and not ends <= accepted:
                yield f"{job_id}: its end is not told"
            for one in told:
                if one.job_id == job_id and (one.job_id, one.status) not in ends:
                    yield f"{job_id}: told as {one.status}"
                if one.job_id == job_id and deleted and one.sent > deleted[0] + _ON_ITS_WAY_SECONDS:
                    yield f"{job_id}: told {one.sent - deleted[0]:.1f} s after its deletion"

    def _frames(self) -> int:
        query = "SELECT coalesce(sum(frame_count), 0) FROM result_chunk JOIN job USING (job_id)"
        ((frames,),) = self._service.database.rows(f"{query} WHERE status = 'completed'")
        return int(frames)

    def _processes(self) -> Iterator[str]:
        """A warm child belongs to a worker process; there is one for each at most, and no orphan."""
        workers = {process.pid for name in WORKERS if (process := self._service.worker_process(name))}
        parents = []
        for child in self._service.children():
            with suppress(psutil.NoSuchProcess):
                parents.append(child.ppid())
        yield from (f"a child of process {parent}, which is no worker" for parent in set(parents) - workers)
        yield from (
            f"{count} children of process {pid}" for pid, count in Counter(parents).items() if count > 1
        )

    def _files(self) -> Iterator[str]:
        """The worker of a deleted job ends its child at the next renewal of the lease; the files go then."""
        work = self._service.data / "work"
        workers = sum(1 for name in WORKERS if self._service.worker_process(name))
        folders = list(work.glob("worker-*"))
        if len(folders) > workers:
            yield f"{len(folders)} work folders of {workers} workers"
        with suppress(AssertionError):
            eventually(lambda: not self._temporary_files(), "no temporary file is left", seconds=20)
        yield from (f"a temporary file is left: {file.relative_to(work)}" for file in self._temporary_files())

    def _temporary_files(self) -> list[Path]:
        found = (self._service.data / "work").rglob("*")
        return [file for file in found if file.is_file() and not file.name.startswith(".")]

    def _objects(self) -> Iterator[str]:
        """What kills have left is for the collector, which is told here that a moment is old enough."""
        self._service.collect()
        stored = self._service.storage.stored()
        needed = {key for (key,) in self._service.database.rows("SELECT input_key FROM job")}
        yield from (f"an object that no job refers to: {key}" for key in stored - needed)
        yield from (f"a job's video is gone: {key}" for key in needed - stored)


def faults_of(transitions: list[Transition]) -> Iterator[str]:
    """What is wrong with one job's way."""
    before: str | None = None
    attempt = 0
    for transition in transitions:
        if transition.before != before or (transition.before, transition.after) not in _LEGAL:
            yield f"went from {transition.before} to {transition.after}, having been {before}"
        attempt += transition.after == "running"
        if transition.attempt != attempt:
            yield f"attempt {transition.attempt} at its claim number {attempt}"
        before = transition.after
    ends = sum(transition.ends for transition in transitions)
    if ends != 1 and (ends or before != DELETED):
        yield f"{ends} terminal transitions"
