"""Frames per second of the pipeline, compared with a plain loop and with its models alone.

    a  the plain loop: cv2.VideoCapture, RapidOCR on ONNX Runtime and NanoDet on OpenVINO, with their defaults
    b  videoqueue: VideoFilePipelineService
    c  the floor: the models of b alone, on the same tensors, preloaded
    d  decoding alone, with conversion to BGR

Each side runs in a process of its own, one after the other, several rounds; figures are medians. "peak" is
the largest resident memory of the process.

Parts, in this order; --only NAME chooses:

    sides    a to d for every clip, and how far a and b agree
    stages   processor time of b by stage, for every clip: decode, conversion and resize, text detection,
             text recognition, object detection, the rest
    memory   peak memory of the child process that a worker runs, by frame size, and for a clip ten times
             as long
    threads  whether the results of b are the same with 1, 2 and 4 threads
    against  with --against COMMIT: b as it was at that commit, in turn with b as it is now, for the
             pipelines yolo_only and yolo_ocr; "x" is how many times as fast it is now
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import clips, text_clip
from benchmarks.comparison import compare, print_stages
from benchmarks.encoding import repeat
from benchmarks.older import compare_with
from benchmarks.processes import ROOT, Bench, Figures, digest

PARTS = ("sides", "stages", "memory", "threads", "against")
_SIZES = ((1920, 1080), (3840, 2160))
_TEXT_FRAMES, _FRAMES, _QUICK_FRAMES = 48, 30, 6
_TIMES_AS_LONG = 10


@dataclass(frozen=True)
class Clip:
    """A file to measure; `written` are the lines of each frame, None when they are not known."""

    file: Path
    written: list[list[str]] | None = None


def main() -> None:
    options = _options()
    parts = set(options.only or PARTS)
    pipelines = [
        file.stem for file in (ROOT / "videoqueue/pipeline/definitions/built_in").glob("yolo_*.json")
    ]
    main_pipeline = "yolo_ocr" if pipelines else "ocr_only"
    rounds = 1 if options.quick else options.rounds
    threads = options.threads or len(os.sched_getaffinity(0))
    print(f"{threads} threads, load {os.getloadavg()[0]:.1f} at the start", flush=True)
    with tempfile.TemporaryDirectory(prefix="videoqueue-benchmark-") as scratch:
        bench = Bench(Path(scratch), threads)
        given = [Clip(file) for file in options.files]
        measured = given or _clips(bench.scratch, options.quick)
        for clip in measured:
            _measure(bench, clip, main_pipeline, rounds, parts)
        if "memory" in parts:
            _memory(bench, measured if given else _one_of_each_size(measured), main_pipeline, options.quick)
        if "threads" in parts:
            _check_threads(bench, (measured if given else _made(measured))[0].file, main_pipeline)
        if "against" in parts and options.against:
            files = [clip.file for clip in measured]
            compare_with(options.against, bench, files, sorted(pipelines) or [main_pipeline], rounds)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./scripts/benchmark pipeline",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Without FILE: the sample video and clips that are made on the spot, always the same:\n"
        "moving text at 1280x720; a screen recording, subtitles and a lower third at 1920x1080 and\n"
        "3840x2160.",
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="default: see below")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side (default: 3)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one round, short clips, one for each size, without the sample: about two minutes",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="default: one for each usable processor")
    parser.add_argument(
        "--only", action="append", choices=PARTS, help="measure this part; may be given several times"
    )
    parser.add_argument(
        "--against", metavar="COMMIT", help="also measure that commit, with the packages of this .venv"
    )
    return parser.parse_args()


def _clips(folder: Path, quick: bool) -> list[Clip]:
    moving = folder / "moving text 1280x720.mp4"
    made = [] if quick else [Clip(ROOT / "videoqueue" / "cli" / "sample.mp4")]
    made.append(Clip(moving, text_clip.write(moving, _QUICK_FRAMES if quick else _TEXT_FRAMES)))
    for size in _SIZES:
        for kind in clips.KINDS if not quick else ("lower third",):
            file = folder / f"{kind} {size[0]}x{size[1]}.mp4"
            made.append(Clip(file, clips.write(file, kind, size, _QUICK_FRAMES if quick else _FRAMES)))
    return made


def _one_of_each_size(made: list[Clip]) -> list[Clip]:
    """The sample is left out: its size is that of the moving text, and most of its frames are equal."""
    return list({clip.file.stem.split()[-1]: clip for clip in _made(made)}.values())


def _made(measured: list[Clip]) -> list[Clip]:
    """Returns the clips that were made on the spot."""
    return [clip for clip in measured if clip.written is not None]


def _measure(bench: Bench, clip: Clip, pipeline: str, rounds: int, parts: Iterable[str]) -> None:
    if "sides" in parts or "stages" in parts:
        print(f"\n{clip.file.name}, {pipeline}, medians of {rounds} rounds")
    if "sides" in parts:
        compare(bench, clip.file, pipeline, rounds, clip.written)
    if "stages" in parts:
        print_stages(bench, clip.file, pipeline, rounds)


def _memory(bench: Bench, measured: list[Clip], pipeline: str, quick: bool) -> None:
    # Without a worker there is no child. Then the process itself is measured.
    has_child = Path(__file__).with_name("child.py").is_file()
    print(f"\nPeak memory of the {'child' if has_child else 'process'}, {pipeline}")
    for number, clip in enumerate(measured):
        files = [(clip.file.stem, clip.file)]
        if number == 0 or not quick:
            files.append(("  the same, ten times as long", bench.scratch / "longer.mp4"))
            repeat(clip.file, files[-1][1], _TIMES_AS_LONG)
        for title, file in files:
            figures = bench.run_child(file, pipeline) if has_child else bench.run("ours", file, pipeline)
            _print_memory(figures, title)


def _print_memory(figures: Figures, title: str) -> None:
    line = f"  {title:32} {figures['frames']:4} frames, {figures['peak_mb']} MB resident"
    if "limit_mb" in figures:
        line += f", {figures['data_mb']} MB of the limit of {figures['limit_mb']} MB"
        line += "" if figures["fits"] else ": MEMORY RAN OUT"
    print(line, flush=True)


def _check_threads(bench: Bench, file: Path, pipeline: str) -> None:
    digests = {
        threads: digest(bench.run("ours", file, pipeline, threads)["results"]) for threads in (1, 2, 4)
    }
    same = "the same" if len(set(digests.values())) == 1 else f"DIFFERENT: {digests}"
    print(f"\nResults of b with 1, 2 and 4 threads, {file.stem}: {same}")


if __name__ == "__main__":
    main()
