"""Decides what an attempt's error means for its job, and records it, also after a loss of the database."""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from videoqueue.causes import cause_fields, cause_of, one_line
from videoqueue.errors import (
    ERROR_CODES,
    DatabaseUnavailableError,
    ErrorCode,
    LeaseLostError,
    PermanentError,
    SandboxCrashedError,
    StalledError,
    TransientError,
)
from videoqueue.failpoints import failpoint
from videoqueue.jobs.database_errors import was_refused
from videoqueue.jobs.store import Claim, JobStore, Setback
from videoqueue.pipeline.decode.video_info import VideoInfo
from videoqueue.sandbox.sandbox import Stopped
from videoqueue.settings import Settings

logger = logging.getLogger(__name__)

_BUG = "An error occurred in the service. It has been logged."
_LOST = "Job lost: another worker has it, or it was deleted."
_NOT_RECORDED = "The outcome of the attempt could not be recorded. The worker's log contains the reason."

#: The machine has run out of something (disk, memory, open files, processes), or its disk fails.
_SHORTAGES = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.ENOMEM,
    errno.EMFILE,
    errno.ENFILE,
    errno.EAGAIN,
    errno.EIO,
    errno.EROFS,
    errno.ESTALE,
)


@dataclass(frozen=True)
class Verdict:
    """What is recorded of an attempt. After a setback the job waits for `delay` seconds."""

    kind: Literal["completed", "lost", "failed"] | Setback
    reason: str | None = None
    delay: float = 0.0
    cause: str = ""
    #: The error for programs, if the job fails; None for that of the limit of setbacks.
    code: ErrorCode | None = None
    #: Facts about the video; stored when the job ends.
    video: VideoInfo = field(default_factory=VideoInfo)
    #: The size of the results of a completed job.
    result_bytes: int = 0


@dataclass(frozen=True)
class Ended:
    """The recorded end of an attempt: a sentence and fields for the log, and seconds until the next try."""

    how: str
    fields: Mapping[str, object] = field(default_factory=dict)
    try_again_after: float | None = None
    level: int = logging.INFO


def verdict_on(error: Exception, claim: Claim, settings: Settings) -> Verdict:
    """Returns what to record for an error that ended the work on a job."""
    cause, reason = cause_of(error), str(error)
    backoff = _backoff(claim, settings)
    match error:
        case LeaseLostError():
            return Verdict("lost")
        case Stopped():
            return Verdict("interruption")
        case PermanentError():
            return Verdict("failed", reason, cause=cause, code=_code_of(error))
        case DatabaseUnavailableError():
            # No attempt is counted. Some databases refuse the results and still accept this record; without
            # a pause the same work would start again at once.
            pause = settings.retry_seconds if was_refused(error) else 0.0
            return Verdict("interruption", reason, pause, cause)
        case SandboxCrashedError():
            code: ErrorCode = "stalled" if isinstance(error, StalledError) else "worker_crashed"
            return Verdict("crashes", reason, settings.crash_retry_seconds, cause, code)
        case TransientError():
            return Verdict("failures", reason, backoff, cause)
    if shortage := _shortage(error):
        return Verdict("failures", shortage, backoff, cause)
    logger.error("A job met a bug.", exc_info=error)
    return Verdict("failures", _BUG, backoff, cause)


def _code_of(error: PermanentError) -> ErrorCode:
    """Returns the code of the error; a plugin may raise a subclass with a code of its own."""
    return next((code for code in ERROR_CODES if code == error.code), "plugin_failed")


def _backoff(claim: Claim, settings: Settings) -> float:
    """Returns the seconds until the next try; they double with each consecutive failure."""
    return settings.retry_seconds * float(2 ** min(claim.failures, 10))


def _shortage(error: Exception) -> str:
    """Returns a text about what the machine has run out of; "" for any other error."""
    if isinstance(error, OSError) and error.errno in _SHORTAGES:
        what = error.strerror or errno.errorcode[error.errno]
    elif isinstance(error, MemoryError):
        what = "Out of memory"
    elif isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        what = "No more threads can be started"
    else:
        return ""
    return (
        f"The worker's machine has too few resources: {what}. Free some there; the job is retried a limited "
        "number of times (VIDEOQUEUE_MAX_ATTEMPTS)."
    )


class Recorder:
    """Writes the verdict on an attempt to the job's row."""

    def __init__(self, store: JobStore, settings: Settings, stopping: threading.Event) -> None:
        self._store = store
        self._settings = settings
        self._stopping = stopping

    def record(self, claim: Claim, verdict: Verdict) -> Ended:
        """Records how the attempt ended; retries while the database is unavailable.

        An expired lease would count as a crash of the job. An outcome that cannot be written for another
        reason, such as a text that the database refuses, is recorded as a counted failure, so that the job
        neither waits for its lease nor is retried forever.

        Returns:
            How the attempt ended, for the log and the queue.
        """
        instead = [Verdict("failures", _NOT_RECORDED, _backoff(claim, self._settings))]
        while True:
            try:
                return self._write(claim, verdict)
            except LeaseLostError:
                return Ended(_LOST)
            except DatabaseUnavailableError as error:
                if verdict.kind == "interruption":  # no pause: once recorded, the database works again
                    verdict = replace(verdict, delay=0.0)
                logger.warning("Outcome not recorded yet.", extra=cause_fields(error))
                if self._stopping.wait(self._settings.renew_seconds):
                    return _ended("Job left to its lease.", verdict)
            except Exception:  # a bug, or a value that the database refuses: the job must not stay running
                logger.exception("Outcome not recorded.")
                if not instead:
                    return _ended("Job left to its lease.", verdict)
                verdict = instead.pop()

    def _write(self, claim: Claim, verdict: Verdict) -> Ended:
        match verdict.kind:
            case "completed":
                return _ended("Job completed.", verdict)
            case "lost":
                return Ended(_LOST)
            case "failed":
                self._store.fail(claim, verdict.reason or "", verdict.video, verdict.code)
                failpoint("worker.failed")
                return _ended("Job failed.", verdict)
            case "interruption":
                # `videoqueue jobs show` shows the reason while the job waits.
                reason = verdict.reason if verdict.delay else None
                self._store.release(claim, "interruption", reason, verdict.delay)
                return _ended("Job interrupted.", verdict, verdict.delay)
        waits = self._store.release(claim, verdict.kind, verdict.reason, verdict.delay, verdict.code)
        failpoint("worker.released")
        if waits:
            return _ended("Job waits for another try.", verdict, verdict.delay)
        return _ended("Job failed.", verdict)


def _ended(how: str, verdict: Verdict, try_again_after: float | None = None) -> Ended:
    known = {
        "damaged_frames": verdict.video.damaged_frames,
        "reason": one_line(verdict.reason or "") or None,
        "cause": verdict.cause or None,
    }
    fields = {name: value for name, value in known.items() if value is not None}
    return Ended(how, fields, try_again_after, logging.WARNING if verdict.reason else logging.INFO)
