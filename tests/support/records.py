"""Job rows and policies for tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from videoqueue.jobs.types import LeasePolicy, NewJob
from videoqueue.settings import Settings


def new_job(**changes: Any) -> NewJob:
    """A submission as it enters the store; its video is not there unless the test has stored one."""
    given: dict[str, Any] = {
        "pipeline_id": "ocr_only",
        "frame_stride": 1,
        "max_frames": None,
        "input_key": "inputs/x.mp4",
        "input_bytes": 10,
        "input_sha256": "0" * 64,
    }
    return NewJob(**given | changes)


def lease_policy(**changes: Any) -> LeasePolicy:
    """The policy of the default settings, with changes."""
    return replace(LeasePolicy.of(Settings()), **changes)
