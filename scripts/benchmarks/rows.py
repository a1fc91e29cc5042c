"""Rows for a database that has seen much: jobs that are done, and results of as many frames as wanted."""

from __future__ import annotations

import hashlib
import random
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from videoqueue.jobs.chunk_encoding import encode_chunk
from videoqueue.jobs.database import engine_options, prepare
from videoqueue.jobs.results import encode
from videoqueue.jobs.tables import JobRow, ResultChunk

_CHUNK_FRAMES = 1000

#: Returns the item of a frame.
Item: TypeAlias = Callable[[int], dict[str, Any]]
#: A job, and the SHA-256 of its results.
Stored: TypeAlias = tuple[uuid.UUID, str]


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


def add_results(engine: Engine, frames: int, item: Item | None = None, *, is_encoded: bool = True) -> Stored:
    """Inserts a completed job. Returns its id and the array's SHA-256.

    Args:
        engine: the database.
        frames: the number of frames.
        item: returns the item of a frame; by default one with three objects.
        is_encoded: whether chunks are encoded, or JSON as of older releases.
    """
    job_id, digest, separator = uuid.uuid4(), hashlib.sha256(), b"["
    with engine.begin() as connection:
        connection.execute(sa.insert(JobRow), [_row(job_id, "0" * 64)])
        for seq, first in enumerate(range(0, frames, _CHUNK_FRAMES)):
            items = [(item or _objects)(index) for index in range(first, min(first + _CHUNK_FRAMES, frames))]
            payload = encode(items)
            digest.update(separator + payload)
            separator = b","
            chunk: dict[str, Any] = {"payload": payload}
            if is_encoded:
                encoded = encode_chunk(items)
                chunk = {"payload": encoded.payload, **vars(encoded.form)}
            place = {"job_id": job_id, "seq": seq, "first_frame": first, "frame_count": len(items)}
            connection.execute(sa.insert(ResultChunk), [place | chunk])
        digest.update(b"]")
        values = {"results_etag": digest.hexdigest()}
        connection.execute(sa.update(JobRow).where(JobRow.job_id == job_id).values(values))
    return job_id, digest.hexdigest()


def stored_bytes(engine: Engine, job_id: uuid.UUID) -> int:
    """Returns the size of the chunks of a job."""
    query = sa.select(sa.func.sum(sa.func.length(ResultChunk.payload))).where(ResultChunk.job_id == job_id)
    with engine.connect() as connection:
        return int(connection.execute(query).scalar_one())


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
        "width": 640,
        "height": 360,
    }


def _objects(index: int) -> dict[str, Any]:
    boxes = [
        {"label": label, "confidence": 0.9, "box": [10 + index % 7, 20, 300, 400]}
        for label in ("person", "cat", "cup")
    ]
    return {"frame_index": index, "result": {"detections": boxes, "timestamp": round(index / 25, 6)}}


def _text(index: int) -> dict[str, Any]:
    lines = [
        {"text": f"line {line} of a page of text", "confidence": 0.987, "box": [8, 20 * line, 300, 20]}
        for line in range(index // 250 % 20)
    ]
    result = {"timestamp": round(index / 25, 6), "text_blocks": lines}
    return {"frame_index": index, "result": result}


#: Lines of text in a broadcast.
_LINES: Final = (
    "BREAKING NEWS",
    "Chapter 3: the market",
    "LIVE",
    "12:05",
    "Weather tomorrow in the north",
    "Score 2 : 1",
    "www.example.org",
)


def mixed(index: int) -> dict[str, Any]:
    """Returns the item of a frame with objects that move and lines of text, of which a tenth are misread."""
    dice = random.Random(index)
    boxes = [
        {
            "label": label,
            "confidence": round(dice.uniform(0.5, 0.99), 3),
            "box": [
                dice.randint(0, 300),
                dice.randint(0, 200),
                dice.randint(301, 640),
                dice.randint(201, 360),
            ],
        }
        for label in ("person", "person", "cat", "cup")[: 1 + index // 300 % 4]
    ]
    lines = []
    for number in range(index // 150 % 4 + 1):
        text = _LINES[(index // 150 + number) % len(_LINES)]
        if dice.random() < 0.1:
            place = dice.randrange(len(text))
            text = text[:place] + dice.choice("abcdelmnop015") + text[place + 1 :]
        box = [10 + dice.randint(0, 2), 40 * number + dice.randint(0, 2), 300, 40 * number + 30]
        lines.append({"text": text, "confidence": round(0.9 + dice.uniform(0, 0.09), 3), "box": box})
    result = {
        "detections": boxes,
        "text": "\n".join(str(line["text"]) for line in lines),
        "text_blocks": lines,
        "timestamp": round(index / 30, 6),
    }
    return {"frame_index": index, "result": result}


#: What the frames of a video show, and the item of each frame.
KINDS: Final[Mapping[str, Item]] = {"objects that move": _objects, "pages of text": _text}
