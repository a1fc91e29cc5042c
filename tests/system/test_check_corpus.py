"""scripts/check_corpus against a service of its own, with a manifest that is right, and one that errs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.stack import ROOT, environment
from tests.support.videos import make_video, spoil_samples


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs the check as its script does, without building the environment first."""
    return subprocess.run(
        [sys.executable, "-m", "corpus.check", str(folder)],
        env=environment({"PYTHONPATH": str(ROOT / "scripts")}),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    make_video(tmp_path / "a good one?.mp4", frames=5)
    spoil_samples(make_video(tmp_path / "spoiled.mp4", frames=3))
    (tmp_path / "-text.mp4").write_text("no video" * 10)
    write_manifest(tmp_path, frames=5)
    return tmp_path


def write_manifest(folder: Path, frames: int, spoiled: str = "reject") -> None:
    entries = [
        {"file": "a good one?.mp4", "expect": "accept", "frames_pyav": frames, "note": ""},
        {"file": "spoiled.mp4", "expect": spoiled, "frames_pyav": 3, "note": "all samples zero"},
        {"file": "-text.mp4", "expect": "reject", "frames_pyav": 0, "note": "text"},
    ]
    (folder / "manifest.json").write_text(json.dumps(entries))


def test_a_corpus_as_its_manifest_says(corpus: Path) -> None:
    done = check(corpus)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "\n3 files, 0 deviations\n  accept  1 completed\n  reject  1 failed, 1 refused\n  either  \n"
    )


def test_every_deviation_is_told(corpus: Path) -> None:
    write_manifest(corpus, frames=6, spoiled="accept")

    done = check(corpus)

    assert done.returncode == 1
    deviations = done.stdout.split("\nDeviations\n")[1].splitlines()
    assert deviations[0].split() == ["a", "good", "one?.mp4", "accept", "5", "frames,", "not", "6"]
    assert deviations[1].split()[:3] == ["spoiled.mp4", "accept", "failed:"]
    assert deviations[3] == "3 files, 2 deviations"
