"""Job rows and policies for tests."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from videoqueue.jobs.types import LeasePolicy, NewJob
from videoqueue.settings import Settings


def new_job(video: bytes = b"ten bytes!", **changes: Any) -> NewJob:
    """A submission of `video` as it enters the store; the test has to store the video under `input_key`."""
    given: dict[str, Any] = {
        "pipeline_id": "ocr_only",
        "frame_stride": 1,
        "max_frames": None,
        "input_key": "inputs/x.mp4",
        "input_bytes": len(video),
        "input_sha256": hashlib.sha256(video).hexdigest(),
    }
    return NewJob(**given | changes)


def lease_policy(**changes: Any) -> LeasePolicy:
    """The policy of the default settings, with changes."""
    return replace(LeasePolicy.of(Settings()), **changes)
