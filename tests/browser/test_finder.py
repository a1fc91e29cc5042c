"""Where the tests of the page get their browser from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.chromium import NAMES, NONE_FOUND

ROOT = Path(__file__).resolve().parents[2]


def test_a_machine_without_a_browser_and_network_says_in_one_line_what_to_install(tmp_path: Path) -> None:
    stub = tmp_path / NAMES[0]  # as package managers install, which want to be asked for the real one
    stub.write_text("#!/bin/sh\nexit 1\n")
    stub.chmod(0o755)
    environment = {
        "HOME": str(tmp_path),
        "PATH": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "PLAYWRIGHT_DOWNLOAD_HOST": "http://127.0.0.1:9",
    }
    command = [sys.executable, "-P", "-m", "tests.support.chromium"]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (1, "", f"{NONE_FOUND}\n")
