"""Rows to begin a test with."""

from __future__ import annotations

from typing import Any

from videoqueue.jobs.types import NewJob


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
