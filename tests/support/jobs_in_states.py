"""Jobs in each state, as clients of the application find them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.support.records import new_job
from tests.support.videos import make_video
from videoqueue.jobs.api_key import Scope
from videoqueue.jobs.keys import KeyStore
from videoqueue.jobs.results import encode
from videoqueue.jobs.tables import CHUNK, DELETED_JOB, JOB
from videoqueue.jobs.types import ALL_OWNERS, Claim
from videoqueue.pipeline.decode.video_info import VideoInfo
from videoqueue.services import Services

STATES = ("pending", "running", "completed", "failed")
VIDEO = VideoInfo(damaged_frames=2, width=640, height=360, fps=29.97, duration=4.5, codec="hevc")


@pytest.fixture
def app(start_app: Callable[..., Flask]) -> Flask:
    return start_app()


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_video(tmp_path_factory.mktemp("video") / "video.mp4").read_bytes()


def submitted(services: Services, **changes: Any) -> uuid.UUID:
    key = f"inputs/{uuid.uuid4().hex}.mp4"
    with services.storage.open_writer(key) as writer:
        writer.write(b"a video")
        writer.commit()
    return services.store.create(new_job(b"a video", input_key=key, **changes))[0]


def claimed(services: Services, job_id: uuid.UUID) -> Claim:
    claim = services.store.claim(job_id, "host:1")
    assert claim is not None
    services.store.checkpoint(claim, 0, encode([{"frame_index": 0, "result": {}}]), [0], 0.45)
    return claim


def job_in(services: Services, status: str, **changes: Any) -> uuid.UUID:
    """A job in this state, with a chunk unless it is pending."""
    job_id = submitted(services, **changes)
    if status == "pending":
        return job_id
    claim = claimed(services, job_id)
    if status == "completed":
        etag, size = services.results.digest(job_id, ALL_OWNERS)
        services.store.complete(claim, etag, VIDEO, size)
    if status == "failed":
        services.store.fail(claim, "It ends early.", VIDEO, "truncated_mp4")
    return job_id


def key_of(services: Services, owner: str, scope: Scope = "submit") -> dict[str, str]:
    return {"Authorization": f"Bearer {KeyStore(services.engine).create(owner, frozenset({scope}))[1]}"}


def left(services: Services) -> tuple[int, int, int, int]:
    """How many jobs, chunks, unfinished deletions and videos there are."""
    with services.engine.connect() as connection:
        rows = [
            connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in (JOB, CHUNK, DELETED_JOB)
        ]
    return rows[0], rows[1], rows[2], len(list(services.storage.list_older_than(-60)))
