"""A browser, a web process, and pages that must not break the policy."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.chromium import browser
from tests.support.records import lease_policy
from tests.support.serving import Web, post, serving
from videoqueue.jobs.chunk_encoding import encode_chunk
from videoqueue.jobs.results import ResultReader
from videoqueue.jobs.store import JobStore
from videoqueue.jobs.types import ALL_OWNERS
from videoqueue.pipeline.decode.video_info import VideoInfo

OpenPage = Callable[..., Page]
#: JavaScript: reports what the policy has blocked.
REPORT = "addEventListener('securitypolicyviolation', (event) => console.error('policy', event.blockedURI))"
BROKEN = re.compile(r"^policy |Content Security Policy")
#: Makes a completed job of a video with these results; returns its id.
Complete = Callable[..., str]


# How long a page takes depends on the machine.
expect.set_options(timeout=30_000)


@pytest.fixture(scope="session", name="browser")
def one_browser() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="session")
def shared_web(tmp_path_factory: pytest.TempPathFactory, valkey_server: str) -> Iterator[Web]:
    with serving(tmp_path_factory.mktemp("web"), REDIS_URL=f"{valkey_server[:-1]}6") as web:
        yield web


@pytest.fixture
def web(shared_web: Web) -> Web:
    shared_web.clear()
    return shared_web


@pytest.fixture(scope="session")
def closed(tmp_path_factory: pytest.TempPathFactory, valkey_server: str) -> Iterator[Web]:
    """A service whose requests need a key."""
    folder = tmp_path_factory.mktemp("closed")
    with serving(folder, REDIS_URL=f"{valkey_server[:-1]}7", VIDEOQUEUE_AUTH="required") as web:
        yield web


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens an address. At the end no page may have failed or broken the policy."""
    complaints: list[str] = []
    contexts = []

    def open_page(url: str, **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        context.add_init_script(REPORT)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(f"{error}\n{error.stack}"))
        page.on("console", lambda said: complaints.append(said.text) if BROKEN.search(said.text) else None)
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def complete(web: Web) -> Complete:
    """Submits a video and completes its job as a worker does, with given results."""

    def complete(
        video: Path, items: Sequence[dict[str, Any]], info: VideoInfo | None = None, **parameters: object
    ) -> str:
        answer = post(web.url, video, **parameters)
        assert answer.status_code == 202, answer.text
        store = JobStore(web.engine, lease_policy(lease_seconds=600))
        job = next(row.job_id for row in web.rows() if str(row.job_id) == answer.json()["job_id"])
        claim = store.claim(job, "test")
        assert claim is not None
        for seq, start in enumerate(range(0, len(items), 100)):
            chunk = encode_chunk(items[start : start + 100])
            store.checkpoint(claim, seq, chunk.payload, chunk.frames, 0.9, chunk.form)
        etag = ResultReader(web.engine).etag(claim.job_id, ALL_OWNERS)
        store.complete(claim, etag, info)
        return str(claim.job_id)

    return complete


def log_in(page: Page, token: str) -> None:
    page.get_by_label("Your key").fill(token)
    page.get_by_role("button", name="Log in").click()
