"""The tables refuse what the state machine does not know."""

import uuid
from dataclasses import fields

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from videoqueue.jobs.tables import JOB, JobRow
from videoqueue.jobs.types import STATUSES, Job

VALID = {
    "owner": "",
    "status": "pending",
    "pipeline_id": "ocr_only",
    "frame_stride": 1,
    "input_key": "inputs/x.mp4",
    "input_bytes": 1,
    "input_sha256": "0" * 64,
    "run_after": 0,
    "announce_after": 0,
    "created_at": 0,
    "updated_at": 0,
}
TERMINAL = {"finished_at": 1}
COMPLETED = {"status": "completed", "progress": 1.0, "results_etag": "e", **TERMINAL}
FAILED = {"status": "failed", "error_message": "why", **TERMINAL}


def insert(engine: Engine, **changes: object) -> None:
    with engine.begin() as connection:
        connection.execute(sa.insert(JobRow).values(**VALID | {"job_id": uuid.uuid4()} | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"status": "running", "lease_until": 5, "attempt": 1},
        COMPLETED | {"result_bytes": 2},
        FAILED | {"error_code": "stalled"},
    ],
    ids=STATUSES,
)
def test_a_row_of_each_status_is_accepted(engine: Engine, changes: dict[str, object]) -> None:
    insert(engine, **changes)
    with engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(JobRow)) == 1


@pytest.mark.parametrize(
    ("constraint", "changes"),
    [
        ("status_known", {"status": "paused"}),
        ("finished_at_when_terminal", {"status": "failed", "error_message": "why"}),
        ("finished_at_when_terminal", TERMINAL),
        ("lease_when_running", {"status": "running"}),
        ("lease_when_running", {"lease_until": 5}),
        ("etag_when_completed", {"status": "completed", "progress": 1.0, **TERMINAL}),
        ("full_progress_when_completed", {"status": "completed", "results_etag": "e", **TERMINAL}),
        ("full_progress_when_completed", {"progress": 1.0}),
        ("failed_says_why", {"status": "failed", **TERMINAL}),
        ("progress_range", {"progress": -0.1}),
        ("frame_stride_range", {"frame_stride": 0}),
        ("max_frames_range", {"max_frames": 0}),
        ("counters_range", {"crashes": -1}),
        ("video_known_when_terminal", {"damaged_frames": 0}),
        ("video_known_when_terminal", {"status": "running", "lease_until": 5, "damaged_frames": 3}),
        ("video_known_when_terminal", {"codec": "h264"}),
        ("video_known_when_terminal", {"width": 640}),
        ("error_code_when_failed", {"error_code": "stalled"}),
        ("error_code_when_failed", {"error_code": "stalled", **COMPLETED}),
        ("result_bytes_when_completed", {"result_bytes": 2}),
        ("result_bytes_when_completed", {"result_bytes": 2, **FAILED}),
    ],
)
def test_a_row_outside_the_state_machine_is_refused(
    engine: Engine, constraint: str, changes: dict[str, object]
) -> None:
    with pytest.raises(sa.exc.IntegrityError, match=f"ck_job_{constraint}"):
        insert(engine, **changes)


def test_an_idempotency_key_is_unique_per_owner_and_null_is_free(engine: Engine) -> None:
    insert(engine)
    insert(engine)
    insert(engine, idempotency_key="k")
    insert(engine, idempotency_key="k", owner="other")
    with pytest.raises(sa.exc.IntegrityError):
        insert(engine, idempotency_key="k")


def test_a_job_has_a_field_for_each_column_of_its_row() -> None:
    assert [field.name for field in fields(Job)] == list(JOB.columns.keys())
