"""Frames per second of the pipeline, compared with a plain loop and with its models alone.

    a  the plain loop: cv2.VideoCapture, RapidOCR and YOLO on ONNX Runtime with their defaults
    b  videoqueue: VideoFilePipelineService
    c  the floor: the models of b alone, on the same tensors, preloaded
    d  decoding alone, with conversion to BGR

Each side runs in a process of its own, one after the other, several rounds; figures are medians. "peak" is
the largest resident memory of the process.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import text_clip
from benchmarks.agreement import Counts, best_overlaps, compare_texts

ROOT = Path(__file__).resolve().parents[2]
Runs = dict[str, list[dict[str, Any]]]
SIDES = {"a": "naive", "b": "ours", "c": "floor", "d": "decode"}
_FRAMES = 48


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="./scripts/benchmark pipeline",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="default: see below")
    parser.epilog = "Without FILE: the sample video and a clip of moving text, which is made on the spot."
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side (default: 3)")
    options = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="videoqueue-benchmark-") as folder:
        warm = Path(folder) / "warm.mp4"
        text_clip.write(warm, 1, seed=99)
        clip, long_clip = Path(folder) / "moving text.mp4", Path(folder) / "moving text, long.mp4"
        written = None
        files = options.files or [ROOT / "videoqueue" / "cli" / "sample.mp4", clip]
        if not options.files:
            written = text_clip.write(clip, _FRAMES)
            text_clip.write(long_clip, 10 * _FRAMES)
        print(f"{threads} processors, load {os.getloadavg()[0]:.1f} at the start", flush=True)
        for file in files:
            compare(file, warm, threads, options.rounds, written if file == clip else None)
        if not options.files:
            peaks = [run("b", file, warm, threads)["peak_mb"] for file in (clip, long_clip)]
            print(f"\nPeak memory of b: {peaks[0]} MB, for a clip ten times as long {peaks[1]} MB")
            check_threads(clip, warm)


def compare(
    file: Path, warm: Path, threads: int, rounds: int, written: list[list[str]] | None = None
) -> None:
    runs: Runs = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side, made in runs.items():
            made.append(run(side, file, warm, threads))
    rate = _medians(runs, lambda one: one["frames"] / one["seconds"])
    work = _medians(runs, lambda one: 1000 * one["processor_seconds"] / one["frames"])
    print(f"\n{file.name}: {runs['b'][0]['frames']} frames, medians of {rounds} rounds")
    for side, name in SIDES.items():
        # The floor holds all tensors in memory.
        peak = "" if name == "floor" else f"   peak {max(one['peak_mb'] for one in runs[side])} MB"
        print(f"  {side} {name:7}{rate[side]:8.2f} frames/s {work[side]:8.1f} processor ms/frame{peak}")
    print(f"  frames/s:       b/a {rate['b'] / rate['a']:.2f}   b/c {rate['b'] / rate['c']:.2f}")
    # Other work on the machine slows the clock's figures, these hardly.
    print(f"  processor time: a/b {work['a'] / work['b']:.2f}   c/b {work['c'] / work['b']:.2f}")
    digests = {digest(one["results"]) for one in runs["b"]}
    print(f"  b gave {'the same results in every round' if len(digests) == 1 else 'DIFFERENT RESULTS'}")
    if written is not None:
        for side in ("a", "b"):
            print(f"  texts written, in {side}: {_found(written, runs[side][0]['results'])}")
    report_agreement(runs["a"][0]["results"], runs["b"][0]["results"])


def _medians(runs: Runs, figure: Callable[[dict[str, Any]], float]) -> dict[str, float]:
    return {side: statistics.median(map(figure, made)) for side, made in runs.items()}


def _found(written: list[list[str]], results: list[dict[str, Any]]) -> Counts:
    texts = Counts()
    for lines, result in zip(written, results, strict=True):
        texts.add(compare_texts(lines, [block["text"] for block in result["text_blocks"]]))
    return texts


def report_agreement(expected: list[dict[str, Any]], found: list[dict[str, Any]]) -> None:
    """Takes a's word for what is there; also tells what b has and a has not."""
    texts, extra = Counts(), Counts()
    overlaps: dict[str, list[float]] = {"text_blocks": [], "detections": []}
    for one, other in zip(expected, found, strict=True):
        lines, read = ([block["text"] for block in side["text_blocks"]] for side in (one, other))
        texts.add(compare_texts(lines, read))
        extra.add(compare_texts(read, lines))
        for kind, values in overlaps.items():
            values += overlaps_of(one.get(kind, []), other.get(kind, []))
    print(f"  texts of a in b: {texts}")
    print(f"  texts of b in a: {extra}")
    for kind, values in overlaps.items():
        if values:
            good = sum(value >= 0.9 for value in values)
            print(
                f"  boxes of a in b, {kind}: {good} of {len(values)} at IoU >= 0.9; "
                f"mean {statistics.mean(values):.3f}, least {min(values):.3f}"
            )


def overlaps_of(expected: list[dict[str, Any]], found: list[dict[str, Any]]) -> list[float]:
    """IoU of each box with the best found one of its label; texts have none."""
    return [
        best_overlaps(
            [one["box"]], [other["box"] for other in found if other.get("label") == one.get("label")]
        )[0]
        for one in expected
    ]


def check_threads(file: Path, warm: Path) -> None:
    digests = {threads: digest(run("b", file, warm, threads)["results"]) for threads in (1, 2, 4)}
    same = "the same" if len(set(digests.values())) == 1 else f"DIFFERENT: {digests}"
    print(f"Results of b with 1, 2 and 4 threads: {same}")


def digest(results: Any) -> str:
    return hashlib.sha256(json.dumps(results, sort_keys=True).encode()).hexdigest()[:12]


def run(side: str, file: Path, warm: Path, threads: int) -> dict[str, Any]:
    command = [
        sys.executable,
        "-P",
        "-m",
        "benchmarks.sides",
        SIDES[side],
        str(file),
        str(warm),
        str(threads),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    main()
