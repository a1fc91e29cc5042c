"""The page when much is going on: many players, very many jobs, a service that is away, a job that goes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import sqlalchemy as sa
from playwright.sync_api import expect

from tests.browser.conftest import Complete, OpenPage
from tests.support.marked_videos import make_large, make_marked
from tests.support.records import lease_policy, new_job
from tests.support.serving import Web, post, serving
from videoqueue.jobs.store import JobStore
from videoqueue.jobs.tables import JobRow
from videoqueue.pipeline.decode.video_info import VideoInfo

PLAYERS = 4


def _items(number: int) -> list[dict[str, Any]]:
    box = {"text": "word", "confidence": 0.9, "box": [9, 9, 60, 30]}
    return [
        {"frame_index": at, "result": {"text_blocks": [box], "timestamp": at / 25}} for at in range(number)
    ]


@pytest.fixture
def narrow_web(tmp_path: Path, redis_url: str) -> Iterator[Web]:
    """A service that sends one video at a time."""
    with serving(tmp_path / "narrow", REDIS_URL=redis_url, VIDEOQUEUE_MAX_CONCURRENT_DOWNLOADS="1") as web:
        yield web


def test_paused_players_hold_no_thread(narrow_web: Web, open_page: OpenPage, tmp_path: Path) -> None:
    """Each player has read a part of a video that is much larger than what a browser keeps."""
    job_id = post(narrow_web.url, make_large(tmp_path / "large.mp4", 60)).json()["job_id"]
    pages = [open_page(f"{narrow_web.url}/#job={job_id}") for _ in range(PLAYERS)]
    for page in pages:
        page.wait_for_function("() => video.readyState >= 3 && video.paused")
    for page in pages:
        page.evaluate("video.currentTime = 40")
        page.wait_for_function("() => !video.seeking && video.readyState >= 2")
        assert page.evaluate("video.error") is None
    whole = requests.get(f"{narrow_web.url}/jobs/{job_id}/video", timeout=60)
    assert len(whole.content) == int(whole.headers["Content-Length"]) > 40_000_000


def test_a_service_that_is_away_is_named_and_asked_again(
    web: Web, open_page: OpenPage, tmp_path: Path
) -> None:
    job_id = post(web.url, make_marked(tmp_path / "waiting.mp4", 3)).json()["job_id"]
    page = open_page(f"{web.url}/#job={job_id}")
    expect(page.locator("#job-state")).to_have_text("waiting for a free worker")
    page.context.set_offline(True)
    expect(page.locator("#job-error")).to_contain_text("The service cannot be reached.", timeout=30_000)
    page.context.set_offline(False)
    expect(page.locator("#job-error")).to_be_hidden(timeout=30_000)


def test_a_job_that_somebody_else_deletes_is_no_longer_found(
    web: Web, open_page: OpenPage, complete: Complete, tmp_path: Path
) -> None:
    video = make_marked(tmp_path / "gone.mp4", 2, times=[0, 30_000])
    items = [*_items(1), {"frame_index": 1, "result": {"detections": [], "timestamp": 30.0}}]
    job_id = complete(video, items, VideoInfo(width=256, height=64, fps=25.0, duration=31.0))
    page = open_page(f"{web.url}/#job={job_id}")
    expect(page.locator("#segments li")).to_have_count(1)
    requests.delete(f"{web.url}/jobs/{job_id}", timeout=60).raise_for_status()
    page.locator("#lanes").focus()
    page.keyboard.press("End")
    expect(page.locator("#job-error")).to_contain_text("There is no job")
    page.reload()
    expect(page.locator("#job-name")).to_have_text("No such job")
    expect(page.locator("#job-body")).to_be_hidden()
    page.get_by_role("link", name="All jobs").click()
    expect(page.locator("#jobs-empty")).to_be_visible()


def test_very_many_jobs_come_in_pages(web: Web, open_page: OpenPage) -> None:
    store = JobStore(web.engine, lease_policy(lease_seconds=600))
    name = "a name without an end " * 11
    store.create(new_job(name=name))
    with web.engine.begin() as connection:
        (row,) = connection.execute(sa.select(JobRow.__table__)).mappings()
        ended = {"status": "failed", "error_message": "It is damaged.", "finished_at": row["created_at"]}
        connection.execute(
            sa.insert(JobRow), [{**row, **ended, "job_id": uuid.UUID(int=at)} for at in range(1, 121)]
        )
    page = open_page(web.url, viewport={"width": 360, "height": 740})
    lines = page.locator("#jobs li")
    expect(lines).to_have_count(50)
    page.get_by_role("button", name="Show older jobs").click()
    expect(lines).to_have_count(100)
    page.get_by_role("button", name="Show older jobs").click()
    expect(lines).to_have_count(121)
    expect(page.get_by_role("button", name="Show older jobs")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
