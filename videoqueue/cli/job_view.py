"""How the command line shows jobs: times as RFC 3339, durations in seconds, columns aligned."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COLUMNS = ("job_id", "status", "progress", "pipeline_id", "attempt", "created_at", "error_message")
_LONGEST_CELL = 60  # characters


def described(row: Any, now: int) -> dict[str, Any]:
    """The job's row in words that need no table beside them; `now` is the database's time in microseconds."""
    lease = row.lease_until
    current = (now - row.claimed_at) / 1_000_000 if row.claimed_at is not None else 0.0
    return {
        "job_id": str(row.job_id),
        "status": row.status,
        "progress": row.progress,
        "pipeline_id": row.pipeline_id,
        "pipeline_version": row.pipeline_version,
        "frame_stride": row.frame_stride,
        "max_frames": row.max_frames,
        "input_key": row.input_key,
        "input_bytes": row.input_bytes,
        "width": row.width,
        "height": row.height,
        "fps": row.fps,
        "duration": row.duration,
        "codec": row.codec,
        "damaged_frames": row.damaged_frames,
        "attempt": row.attempt,
        "failures": row.failures,
        "crashes": row.crashes,
        "worker": row.worker,
        "lease_seconds_left": None if lease is None else round((lease - now) / 1_000_000, 1),
        "worked_seconds": round(row.worked / 1_000_000 + max(0.0, current), 1),
        "error_message": row.error_message,
        "created_at": _time(row.created_at),
        "started_at": _time(row.started_at),
        "updated_at": _time(row.updated_at),
        "finished_at": _time(row.finished_at),
        "run_after": _time(row.run_after),
        "announcements": row.announcements,
        "announce_after": _time(row.announce_after),
    }


def table(jobs: Sequence[dict[str, Any]]) -> str:
    """One line for each job below a line of headings."""
    lines = [list(_COLUMNS), *([_cell(job[name]) for name in _COLUMNS] for job in jobs)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def details(job: dict[str, Any]) -> str:
    """One line for each thing there is to say; nothing is left out."""
    width = max(map(len, job))
    return "\n".join(f"{name:{width}}  {'-' if value is None else value}" for name, value in job.items())


def _cell(value: Any) -> str:
    text = "-" if value is None else " ".join(str(value).split())
    return text if len(text) <= _LONGEST_CELL else text[: _LONGEST_CELL - 3] + "..."


def _time(microseconds: int | None) -> str | None:
    if microseconds is None:
        return None
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat(timespec="milliseconds")[:-6] + "Z"
