"""One job from claim to outcome: download -> sandbox -> chunks -> complete. Decides how it ends."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

from videoqueue.errors import (
    DatabaseUnavailableError,
    LeaseLostError,
    PermanentError,
    SandboxCrashedError,
    TransientError,
)
from videoqueue.jobs.results import encode
from videoqueue.jobs.store import Claim, Setback
from videoqueue.services import Services
from videoqueue.worker.lease import Lease
from videoqueue.worker.sandbox import Alive, Sandbox, Seen, Stopped, Task

logger = logging.getLogger(__name__)

#: A chunk is committed early when it holds so many frames, to bound memory and row size.
_CHUNK_FRAMES = 1000


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
            store.expire(job_id)
            claim = store.claim(job_id, self._worker)
        except DatabaseUnavailableError:
            logger.warning("Job not claimed, the database is away. job_id=%s", job_id)
            return self._services.settings.retry_seconds
        if claim is None:
            logger.info("Nothing to do for this message. job_id=%s", job_id)
            return None
        return self._attempt(claim)

    def _attempt(self, claim: Claim) -> float | None:
        logger.info("Job started. job_id=%s attempt=%d", claim.job_id, claim.attempt)
        started = time.monotonic()
        try:
            outcome, delay = self._outcome(claim)
        except LeaseLostError:
            outcome, delay = "lost to another worker", None
        except DatabaseUnavailableError:
            # Whether the last write counted is unknown; the lease decides, and a sweeper finds the job.
            outcome, delay = "left to its lease, the database is away", None
        seconds = time.monotonic() - started
        logger.info(
            "Job %s. job_id=%s attempt=%d seconds=%.2f", outcome, claim.job_id, claim.attempt, seconds
        )
        return delay

    def _outcome(self, claim: Claim) -> tuple[str, float | None]:
        store = self._services.store
        try:
            self._process(claim)
        except PermanentError as error:
            store.fail(claim, str(error))
            return "failed", None
        except Stopped:
            store.release(claim, "interruption", None)
            return "interrupted", 0.0
        except (LeaseLostError, DatabaseUnavailableError):
            raise
        except SandboxCrashedError as error:
            return self._set_back(claim, "crashes", str(error))
        except TransientError as error:
            return self._set_back(claim, "failures", str(error))
        except Exception:
            logger.exception("A job met a bug. job_id=%s attempt=%d", claim.job_id, claim.attempt)
            return self._set_back(claim, "failures", "Something went wrong on our side; it has been logged.")
        return "completed", None

    def _set_back(self, claim: Claim, setback: Setback, reason: str) -> tuple[str, float | None]:
        delay = self._services.settings.retry_seconds * 2 ** min(claim.failures, 10)
        if self._services.store.release(claim, setback, reason, delay):
            return f"waits for another try ({reason})", delay
        return f"failed ({reason})", None

    def _process(self, claim: Claim) -> None:
        path = self._folder / f"{claim.job_id}.mp4"
        task = Task(
            path=str(path),
            pipeline_id=claim.pipeline_id,
            frame_stride=claim.frame_stride,
            max_frames=claim.max_frames,
            start_after=claim.start_after,
        )
        services = self._services
        with Lease(services.store, claim, services.settings) as lease:

            def should_stop() -> bool:
                lease.check()
                return self._stopping.is_set()

            try:
                services.storage.download(claim.input_key, path)
                self._collect(claim, self._sandbox.run(task, should_stop))
            finally:
                path.unlink(missing_ok=True)
            services.store.complete(claim, services.results.etag(claim.job_id))

    def _collect(self, claim: Claim, reports: Generator[Seen | Alive]) -> None:
        """Commits what the sandbox reports, a chunk every few seconds of work."""
        seq = claim.next_seq
        items: list[dict[str, Any]] = []
        progress = 0.0
        committed = time.monotonic()

        def commit() -> None:
            nonlocal seq, committed
            if items:
                frames = [item["frame_index"] for item in items]
                self._services.store.checkpoint(claim, seq, encode(items), frames, progress)
                seq += 1
                items.clear()
            committed = time.monotonic()

        try:
            with closing(reports):
                for report in reports:
                    match report:
                        case Seen(item):
                            items.append(item)
                        case Alive(fraction):
                            progress = max(progress, fraction)
                    overdue = time.monotonic() - committed >= self._services.settings.checkpoint_seconds
                    if overdue or len(items) >= _CHUNK_FRAMES:
                        commit()
        except Stopped:
            commit()
            raise
        commit()
