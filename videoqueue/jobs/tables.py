"""The tables and their constraints. Times are integers: microseconds since 1970 UTC.

`store` with `claims`, `attempts`, `endings` and `turns` writes `job` and `result_chunk`; `deletion` removes
their rows and writes `deleted_job`; `counters` declares and writes `counter`; `segments` writes
`job_segments`; `workers` writes `worker_heartbeat`, `keys` `api_key` and `sessions` `session`; `turns`,
`quotas` and `owners` write `owner_state`, and `owners` the owner of older jobs. No other module writes a row.
The CHECK constraints repeat the rules of the state machine in `attempts`.
"""

from __future__ import annotations

import uuid
from dataclasses import fields
from typing import Final, cast

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from videoqueue.jobs.counters import COUNTER
from videoqueue.jobs.owner_tables import API_KEY, MAX_OWNER, OWNER_STATE, SESSION, Base
from videoqueue.jobs.types import ALL_OWNERS, STATUSES, TERMINAL, Job, OwnerScope
from videoqueue.jobs.webhook_table import WEBHOOK_EVENT

#: With the tables of owners: whoever imports this module has all tables in `Base.metadata`.
__all__ = [
    "API_KEY",
    "CHUNK",
    "COUNTER",
    "DELETED_JOB",
    "HEARTBEAT",
    "JOB",
    "JOB_COLUMNS",
    "MAX_OWNER",
    "OWNER_STATE",
    "SESSION",
    "WEBHOOK_EVENT",
    "Base",
    "DeletedJobRow",
    "JobRow",
    "ResultChunk",
    "WorkerHeartbeat",
    "owned_by",
]


def _one_of(statuses: tuple[str, ...]) -> str:
    return "status IN (" + ", ".join(f"'{status}'" for status in statuses) + ")"


def _partial_index(name: str, rows: str, *columns: str) -> sa.Index:
    return sa.Index(name, *columns, postgresql_where=sa.text(rows), sqlite_where=sa.text(rows))


class JobRow(Base):
    """One submitted video. `videoqueue.jobs.types.Job` is a row as it is read."""

    __tablename__ = "job"

    job_id: Mapped[uuid.UUID] = mapped_column(sa.Uuid, primary_key=True)
    #: The owner of the key that submitted the job; '' (`NOBODY`) when none was needed.
    owner: Mapped[str] = mapped_column(sa.String(MAX_OWNER))
    status: Mapped[str] = mapped_column(sa.String(16))
    pipeline_id: Mapped[str] = mapped_column(sa.String(100))
    frame_stride: Mapped[int] = mapped_column(sa.BigInteger)
    #: The maximum number of frames to process; null for all.
    max_frames: Mapped[int | None] = mapped_column(sa.BigInteger)
    #: The key of the video in object storage.
    input_key: Mapped[str] = mapped_column(sa.String(200))
    input_bytes: Mapped[int] = mapped_column(sa.BigInteger)
    input_sha256: Mapped[str] = mapped_column(sa.String(64))
    #: From 0.0 to 1.0 in steps of 0.1; 1.0 only when the job is completed.
    progress: Mapped[float] = mapped_column(sa.Float, default=0.0)
    #: The version of the pipeline that made the chunks; null until the first attempt has loaded the pipeline.
    pipeline_version: Mapped[str | None] = mapped_column(sa.String(64))
    #: The number of claims; the fencing token of every write by a worker.
    attempt: Mapped[int] = mapped_column(sa.Integer, default=0)
    #: Transient errors and crashes since the last committed chunk.
    failures: Mapped[int] = mapped_column(sa.Integer, default=0)
    crashes: Mapped[int] = mapped_column(sa.Integer, default=0)
    #: The earliest time of the next claim (backoff).
    run_after: Mapped[int] = mapped_column(sa.BigInteger)
    #: The time at which the worker's lease ends; set only while the job is running.
    lease_until: Mapped[int | None] = mapped_column(sa.BigInteger)
    #: The worker of the last claim, as host:pid; null before the first.
    worker: Mapped[str | None] = mapped_column(sa.String(200))
    #: The start of the current attempt; null when there is none.
    claimed_at: Mapped[int | None] = mapped_column(sa.BigInteger)
    #: Microseconds of work; the sum over the attempts that have ended.
    worked: Mapped[int] = mapped_column(sa.BigInteger, default=0, server_default="0")
    #: When a sweeper announces the job again if it is still pending, and how often it was announced.
    announce_after: Mapped[int] = mapped_column(sa.BigInteger)
    announcements: Mapped[int] = mapped_column(sa.Integer, default=0)
    #: The last error, worded for the user; also set while the job waits for another attempt.
    error_message: Mapped[str | None] = mapped_column(sa.Text)
    #: SHA-256 of the `results` array as served; set only when the job is completed.
    results_etag: Mapped[str | None] = mapped_column(sa.String(64))
    idempotency_key: Mapped[str | None] = mapped_column(sa.String(255))
    created_at: Mapped[int] = mapped_column(sa.BigInteger)
    updated_at: Mapped[int] = mapped_column(sa.BigInteger)
    #: The start of the first attempt.
    started_at: Mapped[int | None] = mapped_column(sa.BigInteger)
    #: Set only in the terminal states.
    finished_at: Mapped[int | None] = mapped_column(sa.BigInteger)
    #: Properties of the video, written in the transaction that ends the job; see `VideoInfo`.
    damaged_frames: Mapped[int | None] = mapped_column(sa.BigInteger)
    width: Mapped[int | None] = mapped_column(sa.Integer)
    height: Mapped[int | None] = mapped_column(sa.Integer)
    fps: Mapped[float | None] = mapped_column(sa.Float)
    duration: Mapped[float | None] = mapped_column(sa.Float)
    codec: Mapped[str | None] = mapped_column(sa.String(32))
    #: The client's name of the video; only for display.
    name: Mapped[str | None] = mapped_column(sa.String(255))
    #: The key that submitted the job, `ApiKeyRow.key_id`; null when none was needed.
    key_id: Mapped[str | None] = mapped_column(sa.String(16))
    #: The kind of the error of a failed job; null in rows of older releases.
    error_code: Mapped[str | None] = mapped_column(sa.String(32))
    #: The bytes of the `results` array; null in rows of older releases.
    result_bytes: Mapped[int | None] = mapped_column(sa.BigInteger)

    __table_args__ = (
        sa.CheckConstraint(_one_of(STATUSES), name="status_known"),
        sa.CheckConstraint(
            f"({_one_of(TERMINAL)}) = (finished_at IS NOT NULL)", name="finished_at_when_terminal"
        ),
        sa.CheckConstraint("(status = 'running') = (lease_until IS NOT NULL)", name="lease_when_running"),
        sa.CheckConstraint("(status = 'completed') = (results_etag IS NOT NULL)", name="etag_when_completed"),
        sa.CheckConstraint("(status = 'completed') = (progress >= 1)", name="full_progress_when_completed"),
        sa.CheckConstraint("status <> 'failed' OR error_message IS NOT NULL", name="failed_says_why"),
        sa.CheckConstraint("progress >= 0 AND progress <= 1", name="progress_range"),
        sa.CheckConstraint("frame_stride >= 1", name="frame_stride_range"),
        sa.CheckConstraint("max_frames IS NULL OR max_frames >= 1", name="max_frames_range"),
        sa.CheckConstraint("attempt >= 0 AND failures >= 0 AND crashes >= 0", name="counters_range"),
        sa.CheckConstraint(
            "finished_at IS NOT NULL OR (damaged_frames IS NULL AND width IS NULL AND height IS NULL "
            "AND fps IS NULL AND duration IS NULL AND codec IS NULL)",
            name="video_known_when_terminal",
        ),
        sa.CheckConstraint("status = 'failed' OR error_code IS NULL", name="error_code_when_failed"),
        sa.CheckConstraint(
            "status = 'completed' OR result_bytes IS NULL", name="result_bytes_when_completed"
        ),
        sa.UniqueConstraint("owner", "idempotency_key"),
        sa.Index(None, "status", "announce_after"),
        sa.Index(None, "status", "lease_until"),
        sa.Index(None, "status", "created_at"),
        sa.Index(None, "finished_at"),
        sa.Index(None, "input_key"),
        # An owner's list by pages. With the size, the sum of an owner's videos reads only the index.
        sa.Index("ix_job_owner_list", "owner", "created_at", "job_id", "input_bytes"),
        # The same for the jobs of all owners.
        sa.Index("ix_job_list", "created_at", "job_id"),
        sa.Index("ix_job_owner_status_list", "owner", "status", "created_at", "job_id"),
        # Small, whatever the number of ended jobs: they are read at each claim.
        _partial_index("ix_job_owner_pending", "status = 'pending'", "owner", "created_at"),
        _partial_index("ix_job_owner_running", "status = 'running'", "owner"),
    )


class ResultChunk(Base):
    """The results of consecutive frames, as `videoqueue.jobs.chunk_encoding` describes."""

    __tablename__ = "result_chunk"

    job_id: Mapped[uuid.UUID] = mapped_column(
        sa.ForeignKey(JobRow.job_id, ondelete="CASCADE"), primary_key=True
    )
    #: The number of the chunk: 0, 1, 2 ... without gaps.
    seq: Mapped[int] = mapped_column(sa.Integer, primary_key=True, autoincrement=False)
    #: The frame index of the first item.
    first_frame: Mapped[int] = mapped_column(sa.BigInteger)
    #: The frame index of the last item; null in rows of older releases. It does not follow from the count,
    #: because a frame that could not be decoded has no item.
    last_index: Mapped[int | None] = mapped_column(sa.BigInteger)
    frame_count: Mapped[int] = mapped_column(sa.Integer)
    payload: Mapped[bytes] = mapped_column(sa.LargeBinary)
    #: The encoding of the payload; null for JSON, as older releases wrote it.
    encoding: Mapped[str | None] = mapped_column(sa.String(16))
    #: The timestamp of the first item in seconds, and the bytes of the items as they are served, with the
    #: commas between them; null in rows of older releases.
    first_time: Mapped[float | None] = mapped_column(sa.Float)
    served_bytes: Mapped[int | None] = mapped_column(sa.BigInteger)

    __table_args__ = (sa.CheckConstraint("frame_count >= 1 AND first_frame >= 0", name="frames_range"),)


class JobSegmentsRow(Base):
    """The segments of a completed job, so that they are made once. The row is removed with the job."""

    __tablename__ = "job_segments"

    job_id: Mapped[uuid.UUID] = mapped_column(sa.Uuid, primary_key=True)
    #: The version of the rules that made them, `videoqueue.segments.build.VERSION`.
    version: Mapped[int] = mapped_column(sa.Integer)
    #: JSON of `videoqueue.segments.ranges.Segments`, compressed with zlib (RFC 1950).
    payload: Mapped[bytes] = mapped_column(sa.LargeBinary)


class DeletedJobRow(Base):
    """A deleted job whose video is still to be removed. The row goes after the video."""

    __tablename__ = "deleted_job"

    job_id: Mapped[uuid.UUID] = mapped_column(sa.Uuid, primary_key=True)
    #: The key of the video; it stays if another job has the same.
    input_key: Mapped[str] = mapped_column(sa.String(200))
    deleted_at: Mapped[int] = mapped_column(sa.BigInteger)


class WorkerHeartbeat(Base):
    """A worker process that is running or stopped a short time ago."""

    __tablename__ = "worker_heartbeat"

    #: The name of the worker, as in `JobRow.worker`.
    worker: Mapped[str] = mapped_column(sa.String(200), primary_key=True)
    started_at: Mapped[int] = mapped_column(sa.BigInteger)
    #: The time of the last heartbeat.
    seen_at: Mapped[int] = mapped_column(sa.BigInteger)
    #: The number of jobs that it processes at once.
    threads: Mapped[int] = mapped_column(sa.Integer)


JOB: Final = cast(sa.Table, JobRow.__table__)
#: The columns of `videoqueue.jobs.types.Job`, in its order.
JOB_COLUMNS: Final = tuple(JOB.c[field.name] for field in fields(Job))
CHUNK: Final = cast(sa.Table, ResultChunk.__table__)
JOB_SEGMENTS: Final = cast(sa.Table, JobSegmentsRow.__table__)
DELETED_JOB: Final = cast(sa.Table, DeletedJobRow.__table__)
HEARTBEAT: Final = cast(sa.Table, WorkerHeartbeat.__table__)


def owned_by(owner: OwnerScope) -> sa.ColumnElement[bool]:
    """Returns the condition that a job belongs to the owner; it is true of every job for `ALL_OWNERS`."""
    return sa.true() if owner is ALL_OWNERS else JOB.c.owner == owner
