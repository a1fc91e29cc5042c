"""Measures how much text is read, and how fast, on a fixed set of clips whose text is known.

The set is drawn and encoded anew in each run, and is always the same: screens, subtitles over photographs
and lower thirds at five frame sizes, letters of 10 to 60 pixels, text upside down and turned by 90 degrees,
columns. Three sides read it, each in a process of its own on one processor: videoqueue; RapidOCR with its
defaults; and with --baseline an older videoqueue.

    recall      share of the written characters that were read, in percent
    precision   share of the read characters that are written there, in percent
    order       share of neighbouring lines that directly follow each other, in percent
    ms          processor time of a frame without decoding, mean

By height, lines of all upright clips count, and precision counts only what was read where a line is.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from text_evaluation.clips import Clip, clips, write
from text_evaluation.measure import Score, score_frame
from text_evaluation.pictures import HEIGHTS

ROOT = Path(__file__).resolve().parents[2]
#: For each side its name, its scores by row of the report.
Rows = dict[str, dict[str, Score]]


def main() -> None:
    options = _arguments()
    with tempfile.TemporaryDirectory(prefix="videoqueue-text-") as folder:
        chosen = clips(options.quick)
        files = [Path(folder) / f"{number}.mp4" for number in range(len(chosen))]
        for clip, file in zip(chosen, files, strict=True):
            write(clip, file)
        print(f"{sum(len(clip.frames) for clip in chosen)} frames, load {os.getloadavg()[0]:.1f}", flush=True)
        values = json.dumps(dict(value.split("=", 1) for value in options.option))
        sides = {"videoqueue": _read("ours", ROOT, files, values)}
        if options.baseline:
            tree = _checkout(options.baseline, Path(folder))
            sides[f"videoqueue {options.baseline[:10]}"] = _read("ours", tree, files, "{}")
        if not options.no_rapidocr:
            sides["RapidOCR"] = _read("rapidocr", ROOT, files, "{}")
    _report({name: _scores(chosen, found) for name, found in sides.items()})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./scripts/evaluate_text",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="few frames, none at 4K: less than a minute")
    parser.add_argument("--baseline", metavar="COMMIT", help="also measure the videoqueue of this commit")
    parser.add_argument("--no-rapidocr", action="store_true", help="leave RapidOCR out")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the plugin, such as ocr.detail=2560",
    )
    return parser.parse_args()


def _checkout(commit: str, folder: Path) -> Path:
    """Returns a folder with the package of that commit."""
    tree = folder / "baseline"
    tree.mkdir()
    packed = subprocess.run(
        ["git", "-C", ROOT, "archive", commit, "videoqueue"], check=True, stdout=subprocess.PIPE
    ).stdout
    subprocess.run(["tar", "-x", "-C", tree], input=packed, check=True)
    return tree


def _read(engine: str, tree: Path, files: list[Path], options: str) -> list[list[dict[str, Any]]]:
    command = [sys.executable, "-P", "-m", "text_evaluation.reader", engine, options, *map(str, files)]
    environment = os.environ | {"PYTHONPATH": f"{tree}:{ROOT / 'scripts'}"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    found: list[list[dict[str, Any]]] = json.loads(done.stdout)
    return found


def _scores(chosen: list[Clip], found: list[list[dict[str, Any]]]) -> dict[str, Score]:
    rows: dict[str, Score] = {}
    for clip, frames in zip(chosen, found, strict=True):
        for drawing, frame in zip(clip.frames, frames, strict=True):
            total, by_height = score_frame(drawing.lines, frame["blocks"])
            total.milliseconds.append(frame["milliseconds"])
            rows.setdefault(clip.group, Score()).add(total)
            if "x" in clip.group:
                for height, score in by_height.items():
                    rows.setdefault(f"{height} px", Score()).add(score)
                    rows.setdefault(f"{clip.group} {height} px", Score()).add(score)
    return rows


def _report(rows: Rows) -> None:
    first = next(iter(rows.values()))
    groups = [name for name in first if not name.endswith("px")]
    heights = [f"{height} px" for height in HEIGHTS]
    name_width = max(map(len, rows))
    for group in groups:
        print(f"\n{group}")
        for name, scores in rows.items():
            score = scores[group]
            times = statistics.fmean(score.milliseconds) / statistics.fmean(first[group].milliseconds)
            print(
                f"  {name:{name_width}}  recall {score.recall:6.2f}  precision {score.precision:6.2f}  "
                f"order {100 * score.ordered / max(score.pairs, 1):5.1f}  "
                f"{statistics.fmean(score.milliseconds):7.0f} ms  ({times:.2f} times the first)"
            )
    print("\nrecall / precision by height of the letters, all sizes of frames")
    _print_table(rows, heights, lambda score: f"{score.recall:5.1f}/{score.precision:5.1f}")
    for group in (name for name in groups if "x" in name):
        print(f"\nrecall by height of the letters, {group}")
        _print_table(rows, [f"{group} {height}" for height in heights], lambda score: f"{score.recall:5.1f}")


def _print_table(rows: Rows, names: list[str], shown: Any) -> None:
    width = max(map(len, rows))
    present = [name for name in names if name in next(iter(rows.values()))]
    print(
        f"  {'':{width}}  " + " ".join(f"{name.split(' ', name.count(' ') - 1)[-1]:>11}" for name in present)
    )
    for name, scores in rows.items():
        print(f"  {name:{width}}  " + " ".join(f"{shown(scores[row]):>11}" for row in present))


if __name__ == "__main__":
    main()
