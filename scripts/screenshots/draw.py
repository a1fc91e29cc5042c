"""Starts a service, submits the sample video on the page, and takes a picture when a word is found."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

from corpus.service import started
from playwright.sync_api import Browser, expect

import videoqueue
from tests.support.chromium import browser

SAMPLE: Final = Path(videoqueue.__path__[0]) / "cli" / "sample.mp4"
QUERY: Final = "chelsae"
JOB_SECONDS: Final = 300
#: The name of each picture, its color scheme, and the size of the window in pixels.
PICTURES: Final = (
    ("page.png", "light", 1280, 1000),
    ("page-dark.png", "dark", 1280, 1000),
    ("page-phone.png", "light", 390, 844),
)


def main() -> None:
    """Writes the pictures into the folder that the command names."""
    folder = Path(sys.argv[1])
    with (
        tempfile.TemporaryDirectory(prefix="screenshots-") as name,
        started(Path(name) / "service", {}) as url,
        browser() as chromium,
    ):
        job = _submitted(chromium, url)
        for file, scheme, width, height in PICTURES:
            _draw(chromium, f"{url}/#job={job}&t=6", folder / file, scheme, (width, height))
            print(folder / file)


def _submitted(chromium: Browser, url: str) -> str:
    page = chromium.new_page()
    page.goto(url)
    page.set_input_files("#upload-file", SAMPLE)
    page.click("#upload-send")
    expect(page.locator("#job-state")).to_have_text("completed", timeout=JOB_SECONDS * 1000)
    job: str = page.evaluate("new URLSearchParams(location.hash.slice(1)).get('job')")
    page.close()
    return job


def _draw(chromium: Browser, address: str, file: Path, scheme: str, size: tuple[int, int]) -> None:
    width, height = size
    context = chromium.new_context(
        color_scheme="dark" if scheme == "dark" else "light", viewport={"width": width, "height": height}
    )
    page = context.new_page()
    page.goto(address)
    expect(page.locator("#overlay text").first).to_be_attached()
    page.fill("#search", QUERY)
    expect(page.locator("#hits")).to_have_text("2 hits")
    expect(page.locator("#clock")).to_contain_text("0:06.000")
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=file)
    context.close()


if __name__ == "__main__":
    main()
