"""Submits every video of a folder to a real service and compares the outcomes with manifest.json.

The manifest is a list of objects: `file` (path in the folder), `expect` and, for videos that must be
accepted, `frames_pyav`, the number of frames. `expect` is one of

    accept    the job completes with exactly these frames
    reject    the submission is refused or the job fails, with a reason that names the cause in `note`
    either    the job ends

Prints every deviation and a summary. The exit code is 1 if there is a deviation.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from corpus.service import own_service

#: What the reason must say when the manifest's note says this; the first that fits counts.
CAUSES = (
    (r"codec outside", r"video codec \S+ is not read"),
    (r"encrypted", r"encrypted"),
    (r"init segment|moov only", r"beginning|declares|cut off"),
    (r"AVI", r"AVI"),
    (r"mjpeg", r"codec m?jpeg"),
    (r"WebM", r"WebM"),
    (r"audio|metadata-only|udta only", r"no video"),
    (r"sidx|subtitle media segment|bytes$", r"segment|header|cut off|MP4|missing"),
    (r"", r"\w+"),
)


@dataclass(frozen=True)
class Outcome:
    """How a file ended: `refused`, `completed`, `failed` or `unfinished`."""

    status: str
    reason: str
    frames: list[int]
    seconds: float


def main() -> None:
    arguments = parse_arguments()
    entries = json.loads((arguments.folder / "manifest.json").read_text())
    pipeline_id = arguments.pipeline_id or ("ocr_only" if arguments.url else "brightness")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the service of its own ends with the check
    deviations, counted = [], Counter[tuple[str, str]]()
    with nullcontext(arguments.url) if arguments.url else own_service() as url:
        client = Client(url.rstrip("/"), pipeline_id, arguments.frame_stride, arguments.seconds)
        for number, entry in enumerate(entries, 1):
            outcome = client.run(arguments.folder / entry["file"])
            counted[entry["expect"], outcome.status] += 1
            fault = deviation(entry, outcome, arguments.frame_stride)
            if fault:
                deviations.append((entry["file"], entry["expect"], fault))
            if arguments.verbose or fault:
                mark = "DEVIATES" if fault else "ok"
                shown = f"{outcome.status:9} {outcome.seconds:6.1f} s {len(outcome.frames):6} frames"
                print(f"{number:4} {mark:8} {shown}  {entry['file']}  {outcome.reason}", flush=True)
    report(len(entries), deviations, counted)
    sys.exit(1 if deviations else 0)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="check_corpus", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder with manifest.json and the videos")
    parser.add_argument(
        "--url", help="address of a running service [default: start one, and stop it afterwards]"
    )
    parser.add_argument(
        "--pipeline-id", help="pipeline to run [default: brightness, a test plugin; ocr_only with --url]"
    )
    parser.add_argument("--frame-stride", type=int, default=1, help="process every n-th frame [default: 1]")
    parser.add_argument("--seconds", type=float, default=900, help="time limit for one file [default: 900]")
    parser.add_argument("--verbose", action="store_true", help="print every file, not only deviations")
    arguments = parser.parse_args()
    if not (arguments.folder / "manifest.json").is_file():
        parser.error(f"{arguments.folder} has no manifest.json")
    return arguments


class Client:
    """Submits a file, waits, and fetches which frames have results."""

    def __init__(self, url: str, pipeline_id: str, stride: int, seconds: float) -> None:
        self._url = url
        self._parameters = {"pipeline_id": pipeline_id, "frame_stride": str(stride)}
        self._seconds = seconds
        self._http = requests.Session()
        if key := os.environ.get("VIDEOQUEUE_API_KEY"):
            self._http.headers["Authorization"] = f"Bearer {key}"

    def run(self, file: Path) -> Outcome:
        started = time.monotonic()
        with file.open("rb") as stream:
            answer = self._http.post(
                f"{self._url}/video/submit", files={"file": stream}, data=self._parameters, timeout=120
            )
        body = answer.json()
        if answer.status_code == 400:
            reason = f"{body['code']}: {body['detail']}"
            return Outcome("refused", reason, [], time.monotonic() - started)
        if answer.status_code != 202:
            sys.exit(f"check_corpus: {file.name}: submission answered {answer.status_code} {body}")
        status = self._wait(body["job_id"], started + self._seconds)
        frames = self._frames(body["job_id"]) if status["status"] == "completed" else []
        reason = status["error_message"] or ""
        state = status["status"] if status["status"] in ("completed", "failed") else "unfinished"
        return Outcome(state, reason, frames, time.monotonic() - started)

    def _wait(self, job_id: str, deadline: float) -> dict[str, Any]:
        while True:
            status: dict[str, Any] = self._http.get(f"{self._url}/video/status/{job_id}", timeout=60).json()
            if status["status"] in ("completed", "failed") or time.monotonic() > deadline:
                return status
            time.sleep(0.1)

    def _frames(self, job_id: str) -> list[int]:
        answer = self._http.get(f"{self._url}/video/results/{job_id}", timeout=300)
        return [item["frame_index"] for item in answer.json()["results"]]


def deviation(entry: dict[str, Any], outcome: Outcome, stride: int) -> str:
    """What is not as the manifest says, or nothing."""
    if outcome.status == "unfinished":
        return "did not come to an end"
    if entry["expect"] == "accept":
        if outcome.status != "completed":
            return f"{outcome.status}: {outcome.reason}"
        expected = list(range(0, entry["frames_pyav"], stride))
        return "" if outcome.frames == expected else f"{len(outcome.frames)} frames, not {len(expected)}"
    if entry["expect"] == "reject":
        if outcome.status == "completed":
            return f"accepted, with {len(outcome.frames)} frames"
        cause = next(wanted for told, wanted in CAUSES if re.search(told, entry["note"]))
        return (
            ""
            if re.search(cause, outcome.reason)
            else f"the reason does not name the cause: {outcome.reason}"
        )
    return ""


def report(files: int, deviations: list[tuple[str, str, str]], counted: Counter[tuple[str, str]]) -> None:
    if deviations:
        print("\nDeviations")
        for file, expected, fault in deviations:
            print(f"  {file:60} {expected:7} {fault}")
    print(f"\n{files} files, {len(deviations)} deviations")
    for expected in ("accept", "reject", "either"):
        ends = ", ".join(
            f"{count} {status}" for (kind, status), count in sorted(counted.items()) if kind == expected
        )
        print(f"  {expected:7} {ends}")


if __name__ == "__main__":
    main()
