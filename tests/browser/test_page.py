"""The page in a real browser: from the upload to a found word, and what people may not see or run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import requests
from playwright.sync_api import expect

from tests.browser.conftest import Complete, OpenPage, log_in
from tests.support.marked_videos import make_marked, write_pictures
from tests.support.serving import Web, padded, post
from tests.support.stack import Service
from tests.support.videos import make_moving_video
from videoqueue.jobs.keys import KeyStore
from videoqueue.pipeline.decode.video_info import VideoInfo

HOSTILE = [
    "<img src=x onerror=\"document.title='run'\">",
    "<script>document.title='run'</script>",
    '=HYPERLINK("http://x")',
    "abc\u202efed",
    "</text><script>document.title='run'</script>",
]


def _written(text: str) -> Any:
    picture = np.full((180, 480, 3), 255, np.uint8)
    return cv2.putText(picture, text, (20, 100), cv2.FONT_HERSHEY_SIMPLEX, 1.6, (0, 0, 0), 3, cv2.LINE_AA)


def _item(index: int, *texts: str) -> dict[str, Any]:
    blocks = [
        {"text": text, "confidence": 0.9, "box": [10, 10 + 10 * at, 90, 18 + 10 * at]}
        for at, text in enumerate(texts)
    ]
    return {"frame_index": index, "result": {"text_blocks": blocks, "timestamp": index / 25}}


@pytest.fixture
def service(tmp_path: Path, redis_url: str) -> Iterator[Service]:
    service = Service(tmp_path / "service", {"REDIS_URL": redis_url})
    service.start()
    yield service
    service.stop()


def test_a_word_of_an_uploaded_video_is_found_and_shown(
    service: Service, open_page: OpenPage, tmp_path: Path
) -> None:
    pictures = [_written("FIRST SLIDE")] * 15 + [_written("EMERGENCY EXIT")] * 15
    video = write_pictures(tmp_path / "slides.mp4", pictures)
    page = open_page(service.url)
    page.set_input_files("#upload-file", video)
    expect(page.locator("#upload-preview")).to_be_visible()
    page.select_option("#upload-pipeline", "ocr_only")
    page.fill("#upload-stride", "3")
    page.click("#upload-send")
    expect(page.locator("#job-name")).to_have_text("slides.mp4")
    page.wait_for_function("document.getElementById('video').src.startsWith('blob:')")
    expect(page.locator("#job-state")).to_have_text("completed", timeout=120_000)
    page.keyboard.press("/")
    page.keyboard.type("emergancy")  # one letter is wrong
    expect(page.locator("#hits")).to_have_text("1 hit")
    expect(page.locator("#segments mark")).to_have_text("EMERGENCY")
    page.click("#segments button")
    expect(page.locator("#clock")).to_have_text(re.compile(r"^0:00\.600 / .*frame 15$"))
    expect(page.locator("#overlay .hit text")).to_have_text("EMERGENCY EXIT")
    expect(page).to_have_url(re.compile(r"&t=0\.600$"))


def test_text_of_a_video_is_only_text(
    web: Web, open_page: OpenPage, complete: Complete, tmp_path: Path
) -> None:
    video = make_marked(tmp_path / "hostile.mp4", 3)
    items = [_item(index, *HOSTILE) for index in range(3)]
    job_id = complete(video, items, VideoInfo(width=256, height=64, fps=25.0), name=HOSTILE[0])
    page = open_page(f"{web.url}/#job={job_id}")
    expect(page.locator("#job-name")).to_have_text(HOSTILE[0])
    expect(page.locator("#overlay text")).to_have_text(HOSTILE)
    expect(page.locator("#in-frame bdi")).to_have_text(HOSTILE)
    expect(page.locator("#segments .words")).to_have_count(len(HOSTILE))
    assert sorted(page.locator("#segments .words").all_text_contents()) == sorted(HOSTILE)
    page.fill("#search", "<script>")
    expect(page.locator("#hits")).to_have_text("2 hits")
    page.goto(web.url)
    expect(page.locator("#jobs .name")).to_have_text(HOSTILE[0])
    assert page.locator("#main img, #main script").count() == 0
    assert page.title() == "videoqueue"


def test_a_refusal_is_shown_in_its_own_words(web: Web, open_page: OpenPage, tmp_path: Path) -> None:
    file = tmp_path / "notes.mp4"
    file.write_text("This is no video." * 100)
    detail = post(web.url, file).json()["detail"]
    page = open_page(web.url)
    page.set_input_files("#upload-file", file)
    expect(page.locator("#upload-unplayable")).to_be_visible()
    page.click("#upload-send")
    expect(page.locator("#upload-error")).to_have_text(detail)
    expect(page.locator("#upload-send")).to_be_enabled()


def test_an_upload_can_be_cancelled(web: Web, open_page: OpenPage, tmp_path: Path) -> None:
    video = padded(make_marked(tmp_path / "small.mp4", 3).read_bytes(), 2_000_000)
    file = tmp_path / "large.mp4"
    file.write_bytes(video)
    page = open_page(web.url)
    page.set_input_files("#upload-file", file)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 100_000}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", slow)
    page.click("#upload-send")
    expect(page.locator("#upload-state")).to_have_text(re.compile(r"\d+ % of 2.0 MB"))
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#live")).to_have_text("The upload is cancelled.")
    expect(page.locator("#upload-progress")).to_be_hidden()
    expect(page.locator("#upload-send")).to_be_enabled()
    assert web.rows() == []


def test_a_video_that_the_service_is_too_busy_to_send_plays_later(
    web: Web, open_page: OpenPage, complete: Complete, tmp_path: Path
) -> None:
    # Each frame has results: by them the player knows which frame belongs to a moment.
    items = [_item(index, "word") for index in range(3)]
    job_id = complete(make_marked(tmp_path / "busy.mp4", 3), items)
    page = open_page(web.url)
    refusal = {"code": "rate_limited", "detail": "Too many at once."}
    busy = {"status": 429, "headers": {"Retry-After": "1"}, "json": refusal}
    page.route("**/ui/jobs/*/video", lambda route: route.fulfill(**busy), times=2)
    page.goto(f"{web.url}/#job={job_id}&t=0.04")
    expect(page.locator("#unplayable")).to_have_text("Too many at once.")
    expect(page.locator("#unplayable")).to_be_hidden()
    expect(page.locator("#play")).to_be_enabled()
    page.wait_for_function("document.getElementById('video').readyState > 1")
    expect(page.locator("#clock")).to_contain_text("0:00.040")


def test_a_job_is_deleted_after_a_question(
    web: Web, open_page: OpenPage, complete: Complete, tmp_path: Path
) -> None:
    complete(make_marked(tmp_path / "unwanted.mp4", 3), [_item(0)])
    page = open_page(web.url)
    delete = page.get_by_role("button", name="Delete unwanted.mp4")
    delete.click()
    page.get_by_role("button", name="Keep").click()
    assert len(web.rows()) == 1
    delete.click()
    expect(page.locator("#confirm-text")).to_contain_text("unwanted.mp4")
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator("#jobs-empty")).to_be_visible()
    assert web.rows() == []


def test_a_video_that_the_browser_cannot_play_is_named_and_the_rest_works(
    web: Web, open_page: OpenPage, complete: Complete, tmp_path: Path
) -> None:
    video = make_moving_video(tmp_path / "new.mp4", "hevc", 20)
    items = [
        {
            "frame_index": index,
            "result": {
                "text_blocks": [{"text": f"page {index // 10}", "confidence": 0.9, "box": [9, 9, 60, 30]}],
                "timestamp": index / 10,
            },
        }
        for index in range(20)
    ]
    info = VideoInfo(width=128, height=96, fps=10.0, duration=2.0, codec="hevc")
    page = open_page(f"{web.url}/#job={complete(video, items, info)}")
    expect(page.locator("#unplayable")).to_contain_text("cannot play HEVC (H.265)")
    page.locator("#segments button").nth(1).click()
    expect(page.locator("#clock")).to_have_text("0:01.000 / 0:02.0, frame 10")
    expect(page.locator("#overlay text")).to_have_text("page 1")
    page.keyboard.press(".")
    expect(page.locator("#clock")).to_contain_text("frame 11")


def test_owners_do_not_see_each_other_and_a_revoked_key_ends_the_session(
    closed: Web, open_page: OpenPage, tmp_path: Path
) -> None:
    keys = KeyStore(closed.engine)
    anna, annas = keys.create("hanna", frozenset({"submit"}))
    _, berts = keys.create("hubert", frozenset({"submit"}))
    video = make_marked(tmp_path / "secret.mp4", 3)
    with video.open("rb") as stream:
        answer = requests.post(
            f"{closed.url}/video/submit",
            files={"file": stream},
            headers={"Authorization": f"Bearer {annas}"},
            timeout=60,
        )
    job_id = answer.json()["job_id"]

    of_anna = open_page(closed.url)
    log_in(of_anna, f"{annas[:-1]}_")
    expect(of_anna.locator("#login-error")).to_contain_text("The key is not valid.")
    log_in(of_anna, annas)
    expect(of_anna.locator("#jobs .name")).to_have_text("secret.mp4")
    expect(of_anna.locator("#owner")).to_have_text("hanna")

    of_bert = open_page(closed.url)
    log_in(of_bert, berts)
    expect(of_bert.locator("#jobs-empty")).to_be_visible()
    of_bert.goto(f"{closed.url}/#job={job_id}")
    expect(of_bert.locator("#job-name")).to_have_text("No such job")
    of_bert.get_by_role("button", name="Log out").click()
    expect(of_bert.locator("#login")).to_be_visible()

    (cookie,) = of_anna.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["secure"]) == (True, "Lax", False)
    keys.revoke(anna.key_id)
    of_anna.reload()
    expect(of_anna.locator("#login")).to_be_visible()
