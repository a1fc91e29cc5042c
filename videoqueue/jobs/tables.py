"""The tables. Times are integer microseconds since 1970 UTC; constraints repeat what `store` promises."""

from __future__ import annotations

import uuid
from typing import Final, Literal, cast

import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Status = Literal["pending", "running", "completed", "failed"]
STATUSES: Final[tuple[Status, ...]] = ("pending", "running", "completed", "failed")
TERMINAL: Final[tuple[Status, ...]] = ("completed", "failed")


class Base(DeclarativeBase):
    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Job(Base):
    """One submitted video. Only `videoqueue.jobs.store` writes these rows."""

    __tablename__ = "job"

    job_id: Mapped[uuid.UUID] = mapped_column(sa.Uuid, primary_key=True)
    #: Whose job it is; '' while the service has no accounts.
    owner: Mapped[str] = mapped_column(sa.String(64), default="")
    status: Mapped[str] = mapped_column(sa.String(16))
    pipeline_id: Mapped[str] = mapped_column(sa.String(100))
    frame_stride: Mapped[int] = mapped_column(sa.BigInteger)
    #: Frames to process at most; null for all.
    max_frames: Mapped[int | None] = mapped_column(sa.BigInteger)
    #: Key in object storage, never a path or the client's file name.
    input_key: Mapped[str] = mapped_column(sa.String(200))
    input_bytes: Mapped[int] = mapped_column(sa.BigInteger)
    input_sha256: Mapped[str] = mapped_column(sa.String(64))
    #: Tenths from 0.0 to 1.0; 1.0 exactly when completed.
    progress: Mapped[float] = mapped_column(sa.Float, default=0.0)
    #: Under which version of the pipeline the chunks were made; null before the first attempt has loaded it.
    pipeline_version: Mapped[str | None] = mapped_column(sa.String(64))
    #: Counts claims; the fencing token of every write by a worker.
    attempt: Mapped[int] = mapped_column(sa.Integer, default=0)
    #: Passing errors and crashes since the last committed chunk.
    failures: Mapped[int] = mapped_column(sa.Integer, default=0)
    crashes: Mapped[int] = mapped_column(sa.Integer, default=0)
    #: Not to be claimed before (backoff).
    run_after: Mapped[int] = mapped_column(sa.BigInteger)
    #: Until when the worker owns the job; set exactly while running.
    lease_until: Mapped[int | None] = mapped_column(sa.BigInteger)
    #: Host and process of the last claim; null before the first.
    worker: Mapped[str | None] = mapped_column(sa.String(200))
    #: When the attempt that is under way began; null while none is.
    claimed_at: Mapped[int | None] = mapped_column(sa.BigInteger)
    #: Microseconds of work, summed over the attempts that have ended.
    worked: Mapped[int] = mapped_column(sa.BigInteger, default=0, server_default="0")
    #: When a sweeper announces the job (again) if it is still pending, and how often it was announced.
    announce_after: Mapped[int] = mapped_column(sa.BigInteger)
    announcements: Mapped[int] = mapped_column(sa.Integer, default=0)
    #: The last error in words for the user; also set while a failed try waits for the next.
    error_message: Mapped[str | None] = mapped_column(sa.Text)
    #: SHA-256 over the results' bytes; set exactly when completed.
    results_etag: Mapped[str | None] = mapped_column(sa.String(64))
    idempotency_key: Mapped[str | None] = mapped_column(sa.String(255))
    created_at: Mapped[int] = mapped_column(sa.BigInteger)
    updated_at: Mapped[int] = mapped_column(sa.BigInteger)
    #: Start of the first attempt.
    started_at: Mapped[int | None] = mapped_column(sa.BigInteger)
    #: Set exactly in terminal states.
    finished_at: Mapped[int | None] = mapped_column(sa.BigInteger)
    #: What was found out about the video, written in the transaction that ends the job; see `VideoInfo`.
    damaged_frames: Mapped[int | None] = mapped_column(sa.BigInteger)
    width: Mapped[int | None] = mapped_column(sa.Integer)
    height: Mapped[int | None] = mapped_column(sa.Integer)
    fps: Mapped[float | None] = mapped_column(sa.Float)
    duration: Mapped[float | None] = mapped_column(sa.Float)
    codec: Mapped[str | None] = mapped_column(sa.String(32))

    __table_args__ = (
        sa.CheckConstraint("status IN ('pending', 'running', 'completed', 'failed')", name="status_known"),
        sa.CheckConstraint(
            "(status IN ('completed', 'failed')) = (finished_at IS NOT NULL)",
            name="finished_at_when_terminal",
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
        sa.UniqueConstraint("owner", "idempotency_key"),
        sa.Index(None, "status", "announce_after"),
        sa.Index(None, "status", "lease_until"),
        sa.Index(None, "status", "created_at"),
        sa.Index(None, "finished_at"),
        sa.Index(None, "input_key"),
    )


class ResultChunk(Base):
    """The results of consecutive frames, as the JSON text of the items joined by commas (UTF-8)."""

    __tablename__ = "result_chunk"

    job_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey(Job.job_id, ondelete="CASCADE"), primary_key=True)
    #: 0, 1, 2 ... without gaps.
    seq: Mapped[int] = mapped_column(sa.Integer, primary_key=True, autoincrement=False)
    #: Frame index of the first item.
    first_frame: Mapped[int] = mapped_column(sa.BigInteger)
    #: Frame index of the last item; null in rows of older releases. A frame that could not be decoded has no
    #: item, so this does not follow from the count.
    last_index: Mapped[int | None] = mapped_column(sa.BigInteger)
    frame_count: Mapped[int] = mapped_column(sa.Integer)
    payload: Mapped[bytes] = mapped_column(sa.LargeBinary)

    __table_args__ = (sa.CheckConstraint("frame_count >= 1 AND first_frame >= 0", name="frames_range"),)


class WorkerHeartbeat(Base):
    """A worker process that runs, or ran a short while ago; its sweeper writes the row."""

    __tablename__ = "worker_heartbeat"

    #: Host and process, as in `Job.worker`.
    worker: Mapped[str] = mapped_column(sa.String(200), primary_key=True)
    started_at: Mapped[int] = mapped_column(sa.BigInteger)
    #: The last sign of life.
    seen_at: Mapped[int] = mapped_column(sa.BigInteger)
    #: Jobs it does at once.
    threads: Mapped[int] = mapped_column(sa.Integer)


JOB: Final = cast(sa.Table, Job.__table__)
CHUNK: Final = cast(sa.Table, ResultChunk.__table__)
HEARTBEAT: Final = cast(sa.Table, WorkerHeartbeat.__table__)

db = SQLAlchemy(metadata=Base.metadata, disable_autonaming=True)
