"""Rows for a database that has seen much: jobs that are done, and results of as many frames as wanted."""

from __future__ import annotations

import hashlib
import time
import uuid
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from videoqueue.jobs.database import engine_options, prepare
from videoqueue.jobs.results import encode
from videoqueue.jobs.tables import JobRow, ResultChunk

_CHUNK_FRAMES = 1000


def open_database(url: str) -> Engine:
    engine = sa.create_engine(url, **engine_options(url, 2))
    prepare(engine)
    return engine


def add_jobs(engine: Engine, count: int, owner: str = "") -> list[uuid.UUID]:
    """Inserts completed jobs without frames. Returns their ids."""
    ids = [uuid.uuid4() for _ in range(count)]
    with engine.begin() as connection:
        for start in range(0, count, 5000):
            rows = [_row(job_id, "0" * 64) | {"owner": owner} for job_id in ids[start : start + 5000]]
            connection.execute(sa.insert(JobRow), rows)
    return ids


def add_results(engine: Engine, frames: int) -> tuple[uuid.UUID, str]:
    """Inserts a completed job with three objects in each frame. Returns its id and the array's SHA-256."""
    job_id, digest, separator = uuid.uuid4(), hashlib.sha256(), b"["
    chunks = []
    for seq, first in enumerate(range(0, frames, _CHUNK_FRAMES)):
        items = [_item(index) for index in range(first, min(first + _CHUNK_FRAMES, frames))]
        payload = encode(items)
        digest.update(separator + payload)
        separator = b","
        chunks.append(
            {
                "job_id": job_id,
                "seq": seq,
                "first_frame": first,
                "frame_count": len(items),
                "payload": payload,
            }
        )
    digest.update(b"]")
    with engine.begin() as connection:
        connection.execute(sa.insert(JobRow), [_row(job_id, digest.hexdigest())])
        connection.execute(sa.insert(ResultChunk), chunks)
    return job_id, digest.hexdigest()


def _row(job_id: uuid.UUID, etag: str) -> dict[str, Any]:
    now = time.time_ns() // 1000
    return {
        "job_id": job_id,
        "owner": "",
        "status": "completed",
        "pipeline_id": "yolo_ocr",
        "frame_stride": 1,
        "input_key": f"inputs/{job_id.hex}.mp4",
        "input_bytes": 1,
        "input_sha256": "0" * 64,
        "progress": 1.0,
        "run_after": now,
        "announce_after": now,
        "results_etag": etag,
        "created_at": now,
        "updated_at": now,
        "finished_at": now,
    }


def _item(index: int) -> dict[str, Any]:
    boxes = [
        {"label": label, "confidence": 0.9, "box": [10 + index % 7, 20, 300, 400]}
        for label in ("person", "cat", "cup")
    ]
    return {"frame_index": index, "result": {"detections": boxes, "timestamp": round(index / 25, 6)}}
