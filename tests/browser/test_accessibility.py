"""The page has no fault that axe-core finds, in each view, light and dark, on a computer and on a phone."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import Complete, OpenPage
from tests.support.marked_videos import make_marked
from tests.support.serving import Web
from videoqueue.pipeline.decode.video_info import VideoInfo

SIZES = {"computer": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}


def _faults(page: Page) -> list[tuple[str, list[str]]]:
    found = Axe().run(page).response["violations"]
    return [(fault["id"], [node["html"] for node in fault["nodes"]]) for fault in found]


@pytest.fixture
def job_id(complete: Complete, tmp_path: Path) -> str:
    items = [
        {
            "frame_index": index,
            "result": {
                "detections": [{"label": "cat", "confidence": 0.8, "box": [10, 10, 90, 50]}],
                "text_blocks": [{"text": "A word", "confidence": 0.9, "box": [10, 10, 90, 50]}],
                "timestamp": index / 25,
            },
        }
        for index in range(10)
    ]
    info = VideoInfo(width=256, height=64, fps=25.0, duration=0.4, codec="vp9")
    return complete(make_marked(tmp_path / "video.mp4", 10), items, info)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_no_view_has_a_fault(web: Web, open_page: OpenPage, job_id: str, scheme: str, size: str) -> None:
    page = open_page(web.url, color_scheme=scheme, viewport=SIZES[size])
    expect(page.locator("#jobs li")).to_have_count(1)
    assert _faults(page) == []
    page.get_by_role("button", name="Delete video.mp4").click()
    assert _faults(page) == []
    page.get_by_role("button", name="Keep").click()
    page.goto(f"{web.url}/#job={job_id}")
    page.fill("#search", "word")
    expect(page.locator("#segments mark")).to_have_text("word")
    assert _faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_login_has_no_fault(closed: Web, open_page: OpenPage) -> None:
    page = open_page(closed.url)
    expect(page.get_by_label("Your key")).to_be_focused()
    assert _faults(page) == []


def test_everything_of_a_job_can_be_done_by_keys(web: Web, open_page: OpenPage, job_id: str) -> None:
    page = open_page(f"{web.url}/#job={job_id}")
    expect(page.locator("#segments li")).to_have_count(2)
    clock = page.locator("#clock")
    expect(clock).to_contain_text("frame 0")
    page.keyboard.press(".")
    expect(clock).to_contain_text("frame 1")
    page.keyboard.press(",")
    expect(clock).to_contain_text("frame 0")
    page.keyboard.press("ArrowRight")
    expect(clock).to_contain_text("frame 9")
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.type("/. word")  # in a field, keys are only text
    expect(page.locator("#search")).to_have_value("/. word")
    page.locator("#step-back").focus()
    page.keyboard.press("Space")  # presses the button, and does not play
    expect(clock).to_contain_text("frame 8")
    expect(page.locator("#play")).to_have_text("Play")
