"""One job from claim to outcome: download -> sandbox -> chunks -> complete. Decides how it ends."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from videoqueue.errors import (
    DatabaseUnavailableError,
    JobTimeoutError,
    LeaseLostError,
    PermanentError,
    SandboxCrashedError,
    StorageFullError,
    TransientError,
)
from videoqueue.failpoints import failpoint
from videoqueue.jobs.store import Claim, Setback
from videoqueue.services import Services
from videoqueue.worker.collector import Collector
from videoqueue.worker.lease import Lease
from videoqueue.worker.protocol import Task
from videoqueue.worker.sandbox import Sandbox, Stopped

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Ended:
    """How an attempt ended, for the log, and in how many seconds its message is sent again."""

    how: str
    try_again_after: float | None = None
    reason: str = ""
    damaged_frames: int | None = None

    @property
    def fields(self) -> str:
        """What else the line in the log says."""
        damaged = "" if self.damaged_frames is None else f" damaged_frames={self.damaged_frames}"
        return damaged + (f" reason={self.reason}" if self.reason else "")


class JobRunner:
    """Runs jobs in one worker thread; `stopping` is set when the worker process shuts down."""

    def __init__(
        self, services: Services, sandbox: Sandbox, folder: Path, worker: str, stopping: threading.Event
    ) -> None:
        self._services = services
        self._sandbox = sandbox
        self._folder = folder
        self._worker = worker
        self._stopping = stopping

    def run(self, job_id: uuid.UUID) -> float | None:
        """Runs the job if it is to be had; answers after how many seconds to try again, or None."""
        if self._stopping.is_set():
            return 0.0
        store = self._services.store
        try:
            failpoint("worker.message_taken")
            store.expire(job_id)
            claim = store.claim(job_id, self._worker)
        except DatabaseUnavailableError:
            logger.warning("Job not claimed, the database is away. job_id=%s", job_id)
            return self._services.settings.retry_seconds
        if claim is None:
            logger.info("Nothing to do for this message. job_id=%s", job_id)
            return None
        failpoint("worker.claimed")
        return self._attempt(claim)

    def _attempt(self, claim: Claim) -> float | None:
        logger.info("Job started. job_id=%s attempt=%d", claim.job_id, claim.attempt)
        started = time.monotonic()
        try:
            ended = self._outcome(claim)
        except LeaseLostError:
            ended = _Ended("Job lost to another worker.")
        except DatabaseUnavailableError:
            ended = self._give_back(claim)
        seconds = time.monotonic() - started
        logger.info(
            f"{ended.how} job_id=%s attempt=%d seconds=%.2f%s",
            claim.job_id,
            claim.attempt,
            seconds,
            ended.fields,
        )
        return ended.try_again_after

    def _outcome(self, claim: Claim) -> _Ended:
        store, settings = self._services.store, self._services.settings
        backoff = settings.retry_seconds * 2 ** min(claim.failures, 10)
        collector = Collector(store, claim, settings.checkpoint_seconds)
        try:
            self._process(claim, collector)
        except PermanentError as error:
            store.fail(claim, str(error), collector.video)
            failpoint("worker.failed")
            return _Ended("Job failed.", None, str(error), collector.video.damaged_frames)
        except Stopped:
            store.release(claim, "interruption", None)
            return _Ended("Job interrupted.", 0.0)
        except (LeaseLostError, DatabaseUnavailableError):
            raise
        except SandboxCrashedError as error:
            return self._set_back(claim, "crashes", str(error), settings.crash_retry_seconds)
        except TransientError as error:
            return self._set_back(claim, "failures", str(error), backoff)
        except Exception:
            logger.exception("A job met a bug. job_id=%s attempt=%d", claim.job_id, claim.attempt)
            reason = "Something went wrong on our side; it has been logged."
            return self._set_back(claim, "failures", reason, backoff)
        return _Ended("Job completed.", damaged_frames=collector.video.damaged_frames)

    def _set_back(self, claim: Claim, setback: Setback, reason: str, delay: float) -> _Ended:
        waits = self._services.store.release(claim, setback, reason, delay)
        failpoint("worker.released")
        if waits:
            return _Ended("Job waits for another try.", delay, reason)
        return _Ended("Job failed.", reason=reason)

    def _give_back(self, claim: Claim) -> _Ended:
        """Tries until the database is back: a lease left to end would count as a crash of the job."""
        logger.warning("The database is away. job_id=%s attempt=%d", claim.job_id, claim.attempt)
        while True:
            try:
                self._services.store.release(claim, "interruption", None)
            except LeaseLostError:
                return _Ended("Job lost to another worker.")
            except DatabaseUnavailableError:
                if self._stopping.wait(self._services.settings.renew_seconds):
                    return _Ended("Job left to its lease.")
            else:
                return _Ended("Job interrupted.", 0.0)

    def _process(self, claim: Claim, collector: Collector) -> None:
        path = self._folder / f"{claim.job_id}.mp4"
        task = Task(
            path=str(path),
            pipeline_id=claim.pipeline_id,
            frame_stride=claim.frame_stride,
            max_frames=claim.max_frames,
            start_after=claim.start_after,
            label=f"job_id={claim.job_id} attempt={claim.attempt}",
        )
        services = self._services
        check_time = self._time_limit(claim)
        with Lease(services.store, claim, services.settings) as lease:

            def should_stop() -> bool:
                lease.check()
                check_time()
                return self._stopping.is_set()

            try:
                self._download(claim, path)
                failpoint("worker.downloaded")
                collector.collect(self._sandbox.run(task, should_stop))
            finally:
                path.unlink(missing_ok=True)
            etag = services.results.etag(claim.job_id)
            failpoint("worker.before_complete")
            services.store.complete(claim, etag, collector.video)
            failpoint("worker.completed")

    def _time_limit(self, claim: Claim) -> Callable[[], None]:
        """A check that raises JobTimeoutError once this attempt and those before it took too long."""
        limit = self._services.settings.job_timeout_seconds
        deadline = time.monotonic() + limit - claim.worked_seconds

        def check() -> None:
            if time.monotonic() >= deadline:
                raise JobTimeoutError(
                    f"The video was not done after {limit:g} seconds of work, the most that a job may take "
                    "(VIDEOQUEUE_JOB_TIMEOUT_SECONDS). Submit a shorter video, or use a larger frame_stride."
                )

        return check

    def _download(self, claim: Claim, path: Path) -> None:
        try:
            self._services.storage.download(claim.input_key, path)
        except StorageFullError as error:
            # The storage's own words are about keeping videos; here there is no room for working on one.
            raise StorageFullError(
                "There is no room to work on the video: the disk of the worker is full. "
                "Free some there; the job is tried again for a while (VIDEOQUEUE_MAX_ATTEMPTS)."
            ) from error
