"""Job rows and policies for tests."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import replace
from typing import Any

from videoqueue.jobs.attempts import Attempts
from videoqueue.jobs.types import ALL_OWNERS, NOBODY, Job, LeasePolicy, NewJob
from videoqueue.settings import Settings


def new_job(video: bytes = b"ten bytes!", **changes: Any) -> NewJob:
    """A submission of `video` as it enters the store; the test has to store the video under `input_key`."""
    given: dict[str, Any] = {
        "owner": NOBODY,
        "pipeline_id": "ocr_only",
        "frame_stride": 1,
        "max_frames": None,
        "input_key": "inputs/x.mp4",
        "input_bytes": len(video),
        "input_sha256": hashlib.sha256(video).hexdigest(),
    }
    return NewJob(**given | changes)


def stored(store: Attempts, job_id: uuid.UUID) -> Job:
    """Returns the job, which has to exist."""
    job = store.get(job_id, ALL_OWNERS)
    assert job is not None, f"there is no job {job_id}"
    return job


def lease_policy(**changes: Any) -> LeasePolicy:
    """The policy of the default settings, with changes."""
    return replace(LeasePolicy.of(Settings()), **changes)
