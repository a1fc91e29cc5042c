"""Finds a browser for the tests of the page: any Chromium or Chrome, else one that can be fetched now.

`./scripts/test` runs this file first: a machine without a browser says so in one line, before the tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from playwright._impl._driver import compute_driver_executable
from playwright.sync_api import Browser, Error, Playwright, sync_playwright

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
#: A name of somebody else, who lets it point at this machine.
REBINDING: Final = "rebinding.example"
#: A page that plays without a click, as after one; and no request of the browser itself.
OPTIONS: Final = [
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    f"--host-resolver-rules=MAP {REBINDING} 127.0.0.1",
]
#: The longest time that a download or an installation may take, and that a host may take to accept; seconds.
FETCH_SECONDS: Final = 600
CONNECT_SECONDS: Final = 10
PACKAGES: Final = ("chromium", "fonts-dejavu-core", "libatomic1")
NONE_FOUND: Final = (
    "No Chromium or Chrome was found, and none could be fetched. Install one (on Debian, as root: apt-get "
    f"install {' '.join(PACKAGES)}), or leave out the tests of the page: ./scripts/test tests/unit "
    "tests/integration tests/system"
)
_APT: Final = ("apt-get", "-o", "DPkg::Lock::Timeout=300", "--yes")


class NoBrowserError(Exception):
    """There is no browser, and none can be fetched."""


@contextmanager
def browser() -> Iterator[Browser]:
    """Starts a browser for the block.

    Raises:
        NoBrowserError: there is none.
    """
    node, _ = compute_driver_executable()
    if not (_succeeds(node, "--version") or (_installed() and _succeeds(node, "--version"))):
        raise NoBrowserError(NONE_FOUND)  # a library is missing that is a package of the system too
    with sync_playwright() as playwright:
        started = next(filter(None, _attempts(playwright)), None)
        if started is None:
            raise NoBrowserError(NONE_FOUND)
        try:
            yield started
        finally:
            started.close()


def _attempts(playwright: Playwright) -> Iterator[Browser | None]:
    """Yields a browser for each way to have one that works, and fetches nothing that is not needed."""
    for name in NAMES:
        yield _started(playwright, shutil.which(name))
    yield _started(playwright, playwright.chromium.executable_path)
    if _succeeds(sys.executable, "-m", "playwright", "install", "chromium"):
        yield _started(playwright, playwright.chromium.executable_path)
    if _installed():
        yield _started(playwright, shutil.which("chromium"))


def _installed() -> bool:
    """Installs Debian's Chromium, and what Playwright itself needs. Returns whether it could."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None or not _succeeds(*_APT, "update"):
        return False
    return _succeeds(*_APT, "install", "--no-install-recommends", *PACKAGES)


def _started(playwright: Playwright, path: str | None) -> Browser | None:
    if path is None or not Path(path).exists():
        return None
    try:
        return playwright.chromium.launch(executable_path=path, args=OPTIONS)
    except Error:
        return None  # a stub of a package manager, or one whose libraries are missing


def _succeeds(*command: str) -> bool:
    environment = {
        **os.environ,
        "DEBIAN_FRONTEND": "noninteractive",
        "PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT": str(CONNECT_SECONDS * 1000),
    }
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, check=False, timeout=FETCH_SECONDS
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


if __name__ == "__main__":
    try:
        with browser():
            pass
    except NoBrowserError as error:
        sys.exit(str(error))
