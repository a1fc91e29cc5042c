"""Formats jobs for the command line: times as RFC 3339, durations in seconds, aligned columns."""

from __future__ import annotations

from collections.abc import Sequence

from videoqueue.jobs.types import Job, rfc3339

_COLUMNS = (
    "job_id",
    "status",
    "progress",
    "pipeline_id",
    "attempt",
    "created_at",
    "owner",
    "name",
    "error_message",
)
_MAX_CELL = 60  # characters


def described(job: Job, now: int) -> dict[str, object]:
    """Returns the properties of a job, by name.

    Args:
        job: the job.
        now: the database's time, in microseconds since 1970.
    """
    lease = job.lease_until
    current = (now - job.claimed_at) / 1_000_000 if job.claimed_at is not None else 0.0
    return {
        "job_id": str(job.job_id),
        "owner": job.owner,
        "key_id": job.key_id,
        "name": job.name,
        "status": job.status,
        "progress": job.progress,
        "pipeline_id": job.pipeline_id,
        "pipeline_version": job.pipeline_version,
        "frame_stride": job.frame_stride,
        "max_frames": job.max_frames,
        "input_key": job.input_key,
        "input_bytes": job.input_bytes,
        "width": job.width,
        "height": job.height,
        "fps": job.fps,
        "duration": job.duration,
        "codec": job.codec,
        "damaged_frames": job.damaged_frames,
        "attempt": job.attempt,
        "failures": job.failures,
        "crashes": job.crashes,
        "worker": job.worker,
        "lease_seconds_left": None if lease is None else round((lease - now) / 1_000_000, 1),
        "worked_seconds": round(job.worked / 1_000_000 + max(0.0, current), 1),
        "error_code": job.error_code,
        "error_message": job.error_message,
        "result_bytes": job.result_bytes,
        "created_at": time_text(job.created_at),
        "started_at": time_text(job.started_at),
        "updated_at": time_text(job.updated_at),
        "finished_at": time_text(job.finished_at),
        "run_after": time_text(job.run_after),
        "announcements": job.announcements,
        "announce_after": time_text(job.announce_after),
    }


def table(rows: Sequence[dict[str, object]], columns: Sequence[str] = _COLUMNS) -> str:
    """Returns a table: a line of headings, then one line for each row."""
    lines = [list(columns), *([_cell(row[name]) for name in columns] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def details(job: dict[str, object]) -> str:
    """Returns one line for each property of a job."""
    width = max(map(len, job))
    return "\n".join(f"{name:{width}}  {'-' if value is None else value}" for name, value in job.items())


def _cell(value: object) -> str:
    text = "-" if value is None else " ".join(str(value).split())
    return text if len(text) <= _MAX_CELL else text[: _MAX_CELL - 3] + "..."


def time_text(microseconds: int | None) -> str | None:
    """Returns a time of a row as RFC 3339; None for null."""
    return None if microseconds is None else rfc3339(microseconds, "milliseconds")
