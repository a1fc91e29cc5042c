"""The error code of a failed job is written in the transaction that ends the job."""

from __future__ import annotations

import threading

import pytest

from tests.support.records import new_job, stored
from videoqueue.errors import (
    InvalidVideoError,
    JobTimeoutError,
    ObjectMissingError,
    OutOfMemoryError,
    PermanentError,
    PipelineError,
    ResultsTooLargeError,
    SandboxCrashedError,
    StalledError,
    TransientError,
    UnknownPipelineError,
)
from videoqueue.jobs.store import Claim, JobStore
from videoqueue.sandbox.protocol import error_of
from videoqueue.settings import Settings
from videoqueue.worker.outcome import Recorder, verdict_on

SETTINGS = Settings(retry_seconds=0, crash_retry_seconds=0)


class _OfPluginError(PermanentError):
    code = "a code of a plugin"


def claimed(store: JobStore) -> Claim:
    claim = store.claim(store.create(new_job())[0], "host:1")
    assert claim is not None
    return claim


def end(store: JobStore, claim: Claim, error: Exception) -> str | None:
    """Ends attempts with this error until the job fails. Returns its code."""
    recorder = Recorder(store, SETTINGS, threading.Event())
    while True:
        recorder.record(claim, verdict_on(error, claim, SETTINGS))
        job = stored(store, claim.job_id)
        if job.status == "failed":
            return job.error_code
        assert (job.status, job.error_code) == ("pending", None)
        again = store.claim(claim.job_id, "host:1")
        assert again is not None
        claim = again


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidVideoError("truncated_mp4", "why"), "truncated_mp4"),
        (InvalidVideoError("video_damaged", "why"), "video_damaged"),
        (InvalidVideoError("limit_exceeded", "why"), "limit_exceeded"),
        (JobTimeoutError("why"), "job_timeout"),
        (OutOfMemoryError("why"), "out_of_memory"),
        (PipelineError("why"), "plugin_failed"),
        (_OfPluginError("why"), "plugin_failed"),
        (UnknownPipelineError("gone", ()), "unknown_pipeline"),
        (ObjectMissingError("why"), "video_missing"),
        (ResultsTooLargeError("why"), "results_too_large"),
        (SandboxCrashedError("why"), "worker_crashed"),
        (StalledError("why"), "stalled"),
        (TransientError("why"), "too_many_failures"),
        (ZeroDivisionError("a bug"), "too_many_failures"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_each_error_has_its_code_and_a_waiting_job_has_none(
    store: JobStore, error: Exception, code: str
) -> None:
    assert end(store, claimed(store), error) == code


def test_a_lease_that_expires_too_often_is_a_crashed_worker(store: JobStore) -> None:
    store.policy = type(store.policy)(**vars(store.policy) | {"lease_seconds": -1, "renew_seconds": 0})
    claim = claimed(store)
    assert store.expire(claim.job_id)
    assert stored(store, claim.job_id).error_code is None
    assert store.claim(claim.job_id, "host:1") is not None
    assert store.expire(claim.job_id)
    assert stored(store, claim.job_id).error_code == "worker_crashed"


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        ({"type": "failed", "code": "unknown_pipeline"}, "unknown_pipeline"),
        ({"type": "failed", "code": "job_timeout"}, "plugin_failed"),
        ({"type": "failed"}, "plugin_failed"),
        ({"type": "bad_video", "code": "limit_exceeded"}, "limit_exceeded"),
    ],
)
def test_a_child_chooses_only_among_the_codes_of_its_own_errors(outcome: dict[str, str], code: str) -> None:
    error = error_of(outcome | {"message": "why"})
    assert isinstance(error, PermanentError)
    assert (error.code, str(error)) == (code, "why")
