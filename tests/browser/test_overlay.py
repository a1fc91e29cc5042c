"""The boxes over the video belong to the frame that is shown: its number is burnt into the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Complete, OpenPage
from tests.support.edited_videos import with_edits
from tests.support.marked_videos import READ, make_marked, numbers_of
from tests.support.serving import Web
from videoqueue.pipeline.decode.video_info import VideoInfo

FRAMES = 60
ONE = 1 << 16
#: A quarter turn.
TURNED = [0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30]
#: Milliseconds between two frames, again and again.
STEPS = [20, 40, 33, 100, 17]


def _varying() -> list[int]:
    return [sum(STEPS[at % len(STEPS)] for at in range(number)) for number in range(FRAMES)]


def _video(kind: str, file: Path) -> Path:
    match kind:
        case "frames that depend on later ones":
            return make_marked(file, FRAMES, codec="libsvtav1")
        case "an edit list":
            return with_edits(make_marked(file, FRAMES), [(400, -1), (2000, 320)])
        case "a varying rate":
            return make_marked(file, FRAMES, times=_varying())
        case "pixels of 2:1":
            return make_marked(file, FRAMES, ratio="2")
        case _:
            return make_marked(file, FRAMES, matrix=TURNED)


def _results(numbers: list[tuple[int, float, int, tuple[int, int]]]) -> list[dict[str, Any]]:
    """A box for each frame, named by the number in its picture, over the bar of the lowest bit."""
    items = []
    for index, time, number, (width, height) in numbers:
        box = [0, 0, width / 8, height] if width > height else [0, 0, width, height / 8]
        found = {"label": f"number {number}", "confidence": 1.0, "box": box}
        items.append({"frame_index": index, "result": {"detections": [found], "timestamp": time}})
    return items


# The picture and the box are read in one turn of the page, so that both belong to the same moment.
SHOWN = f"""(isTurned) => ({{
  number: ({READ})(isTurned),
  drawn: document.querySelector('#overlay text')?.textContent ?? '',
  index: document.getElementById('overlay').dataset.frame,
  isSettled: !document.getElementById('video').seeking,
}})"""


def _wait_for_time(page: Page, time: float) -> None:
    page.wait_for_function(
        "(time) => !video.seeking && document.getElementById('clock').textContent.startsWith(time)",
        arg=f"0:{time:06.3f}",
    )


@pytest.mark.parametrize(
    "kind",
    ["frames that depend on later ones", "an edit list", "a varying rate", "pixels of 2:1", "a quarter turn"],
)
def test_each_frame_has_its_own_box_when_paused(
    web: Web, open_page: OpenPage, complete: Complete, tmp_path: Path, kind: str
) -> None:
    is_turned = kind == "a quarter turn"
    file = _video(kind, tmp_path / "marked.mp4")
    numbers = list(numbers_of(file, is_turned))
    width, height = numbers[0][3]
    info = VideoInfo(width=width, height=height, fps=25.0, duration=numbers[-1][1] + 0.04, codec="vp9")
    job_id = complete(file, _results(numbers), info)
    page = open_page(f"{web.url}/#job={job_id}")
    page.wait_for_selector("#segments li")
    page.wait_for_function("document.querySelector('#overlay text') !== null")
    wrong = []
    for index, time, number, _ in [*numbers, *numbers[::-7]]:
        page.evaluate("(time) => { location.hash = location.hash.split('&')[0] + '&t=' + time }", time)
        _wait_for_time(page, time)
        shown = page.evaluate(SHOWN, is_turned)
        if (shown["number"], shown["drawn"], shown["index"]) != (
            number,
            f"number {number} 100 %",
            str(index),
        ):
            wrong.append((index, time, number, shown))
    assert wrong == []


#: JavaScript: plays to the end so slowly that also a busy machine draws each frame before the next one comes.
#: Returns for each frame its number by its time, the number in the picture, and that of the box over it.
PLAY = f"""() => new Promise((resolve) => {{
  const video = document.getElementById('video');
  const seen = [];
  const see = (_now, {{ mediaTime }}) => {{
    const drawn = document.querySelector('#overlay text')?.textContent ?? '';
    const box = Number.parseInt(drawn.replace('number ', ''), 10);
    seen.push([Math.round(mediaTime * 25), ({READ})(false), box]);
    video.requestVideoFrameCallback(see);
  }};
  video.requestVideoFrameCallback(see);
  video.addEventListener('ended', () => resolve(seen));
  video.playbackRate = 0.125;
  video.play();
}})"""


def test_while_playing_a_box_is_at_most_one_frame_late(
    web: Web, open_page: OpenPage, complete: Complete, tmp_path: Path
) -> None:
    file = make_marked(tmp_path / "playing.mp4", 15)
    info = VideoInfo(width=256, height=64, fps=25.0, duration=15 / 25, codec="vp9")
    page = open_page(f"{web.url}/#job={complete(file, _results(list(numbers_of(file))), info)}")
    page.wait_for_selector("#segments li")
    page.wait_for_selector("#overlay text", state="attached")
    seen = page.evaluate(PLAY)
    assert len(seen) > 1
    assert [drawn for _, _, drawn in seen] == [by_time for by_time, _, _ in seen]
    assert [frame for frame in seen if abs(frame[1] - frame[2]) > 1] == []


def test_a_box_lies_where_it_is_in_the_picture(
    web: Web, open_page: OpenPage, complete: Complete, tmp_path: Path
) -> None:
    file = make_marked(tmp_path / "wide.mp4", 3, ratio="2")
    numbers = list(numbers_of(file))
    width, height = numbers[0][3]
    assert (width, height) == (512, 64)
    job_id = complete(file, _results(numbers), VideoInfo(width=width, height=height, fps=25.0, codec="vp9"))
    page = open_page(f"{web.url}/#job={job_id}")
    page.wait_for_selector("#overlay rect")
    page.wait_for_selector("#segments li")
    video = page.locator("#video").bounding_box()
    box = page.evaluate(
        """() => { const rect = document.querySelector('#overlay rect');
        return ['x', 'y', 'width', 'height'].map((name) => Number(rect.getAttribute(name))) }"""
    )
    assert video is not None
    assert box == pytest.approx([0, 0, video["width"] / 8, video["height"]], abs=1)
