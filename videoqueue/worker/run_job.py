"""Runs one job from claim to outcome: download, sandbox, chunks, completion."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from videoqueue import logs
from videoqueue.causes import cause_fields
from videoqueue.errors import JobTimeoutError, StorageFullError, TransientError
from videoqueue.failpoints import failpoint
from videoqueue.jobs.store import Claim
from videoqueue.jobs.types import ALL_OWNERS
from videoqueue.maintenance.next_job import announce_next
from videoqueue.sandbox.process import Stopped
from videoqueue.sandbox.protocol import Task
from videoqueue.sandbox.sandbox import Sandbox
from videoqueue.services import Services
from videoqueue.worker.collector import Collector
from videoqueue.worker.lease import Lease
from videoqueue.worker.outcome import Recorder, Verdict, verdict_on
from videoqueue.worker.segments import keep_segments

logger = logging.getLogger(__name__)


class JobRunner:
    """Runs jobs in one worker thread.

    Args:
        sandbox: the thread's own.
        folder: returns the folder for the video; raises OSError if there is none now.
        worker: the name of the worker process, stored with the claim.
        stopping: set when the worker process shuts down.
    """

    def __init__(
        self,
        services: Services,
        sandbox: Sandbox,
        folder: Callable[[], Path],
        worker: str,
        stopping: threading.Event,
    ) -> None:
        self._services = services
        self._sandbox = sandbox
        self._folder = folder
        self._worker = worker
        self._stopping = stopping
        self._recorder = Recorder(services.store, services.settings, stopping)

    def run(self, job_id: uuid.UUID) -> float | None:
        """Claims a job and runs it: this one, unless it is the turn of another; see `JobStore.claim`.

        Returns:
            Seconds until the message should be retried, or None if it is done with.
        """
        with logs.context(job_id=job_id):
            return self._run(job_id)

    def _run(self, job_id: uuid.UUID) -> float | None:
        if self._stopping.is_set():
            return 0.0
        store = self._services.store
        try:
            failpoint("worker.message_taken")
            folder = self._folder()  # without a folder, another worker can take the job
            store.expire(job_id)
            claim = store.claim(job_id, self._worker)
        except (TransientError, OSError) as error:
            logger.warning("Job not claimed.", extra=cause_fields(error))
            return self._services.settings.retry_seconds
        if claim is None:
            logger.info("Nothing to do for this message.")
            return None
        # The message may have named another job.
        with logs.context(job_id=claim.job_id, attempt=claim.attempt):
            return self._attempt(claim, folder)

    def _attempt(self, claim: Claim, folder: Path) -> float | None:
        logger.info("Job started.")
        started = time.monotonic()
        verdict = self._verdict(claim, folder)
        ended = self._recorder.record(claim, verdict)
        seconds = round(time.monotonic() - started, 2)
        logger.log(ended.level, ended.how, extra={"seconds": seconds, **ended.fields})
        if claim.owner_is_limited:
            announce_next(self._services.store, self._services.broker, claim.owner)
        if verdict.kind == "completed":
            keep_segments(self._services, claim.job_id, verdict.result_bytes, self._stopping)
        return ended.try_again_after

    def _verdict(self, claim: Claim, folder: Path) -> Verdict:
        """Runs the attempt and returns what to record; a completion is recorded already."""
        settings = self._services.settings
        collector = Collector(self._services, claim)
        try:
            size = self._process(claim, folder, collector)
        except Exception as error:  # noqa: BLE001 - any error ends this attempt only
            verdict = verdict_on(error, claim, settings)
        else:
            verdict = Verdict("completed", result_bytes=size)
        return replace(verdict, video=collector.video)

    def _process(self, claim: Claim, folder: Path, collector: Collector) -> int:
        """Runs the attempt to its completion. Returns the bytes of the results."""
        failpoint("worker.claimed")
        # The attempt is in the name: an attempt that lost its lease may still have its copy open.
        path = folder / f"{claim.job_id}-{claim.attempt}.mp4"
        task = Task(
            path=str(path),
            pipeline_id=claim.pipeline_id,
            frame_stride=claim.frame_stride,
            max_frames=claim.max_frames,
            start_after=claim.start_after,
            version=claim.pipeline_version,
            job_id=str(claim.job_id),
            attempt=claim.attempt,
        )
        services = self._services
        check_time = self._time_limit(claim)
        with Lease(services.store, claim, services.settings) as lease:

            def should_stop() -> bool:
                lease.check()
                check_time()
                return self._stopping.is_set()

            try:
                self._download(claim, path, should_stop)
                failpoint("worker.downloaded")
                collector.collect(self._sandbox.run(task, should_stop, claim.owner))
            finally:
                with suppress(OSError):  # the folder is removed with the process
                    path.unlink(missing_ok=True)
            etag, size = services.results.digest(claim.job_id, ALL_OWNERS)
            failpoint("worker.before_complete")
            services.store.complete(claim, etag, collector.video, size)
            failpoint("worker.completed")
        return size

    def _time_limit(self, claim: Claim) -> Callable[[], None]:
        """Returns a check that raises JobTimeoutError once this and all earlier attempts took too long."""
        limit = self._services.settings.job_timeout_seconds
        deadline = time.monotonic() + limit - claim.worked_seconds

        def check() -> None:
            if time.monotonic() >= deadline:
                raise JobTimeoutError(
                    f"The job reached its time limit of {limit:g} seconds "
                    "(VIDEOQUEUE_JOB_TIMEOUT_SECONDS). Submit a shorter video, or use a larger frame_stride."
                )

        return check

    def _download(self, claim: Claim, path: Path, should_stop: Callable[[], bool]) -> None:
        """Copies the video to `path`.

        Raises:
            TransientError: it cannot be copied now, or the copy is not the video that was submitted.
            Stopped: the worker process shuts down.
        """

        def check() -> None:
            if should_stop():
                raise Stopped

        try:
            found = self._services.storage.download(claim.input_key, path, check)
        except StorageFullError as error:
            # The storage's message is about stored videos; here the worker's disk is full.
            raise StorageFullError(
                "The disk of the worker is full, so the video cannot be downloaded: a part of "
                "VIDEOQUEUE_RESERVE_BYTES stays free. Free space there; the job is retried a limited number "
                "of times (VIDEOQUEUE_MAX_ATTEMPTS)."
            ) from error
        if found != claim.input_sha256:
            logger.warning(
                "The stored video is not the one that was submitted.",
                extra={
                    "key": claim.input_key,
                    "bytes": path.stat().st_size,
                    "of": claim.input_bytes,
                    "sha256": found,
                    "expected": claim.input_sha256,
                },
            )
            raise TransientError(
                "The stored video is not the one that was submitted: its checksum differs. "
                "If the job fails with this error, submit the video again."
            )
