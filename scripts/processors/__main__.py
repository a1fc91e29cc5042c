"""Compares what this processor finds with what an emulated one finds that has no VNNI instructions.

Both read frames of the sample video and the pictures of `./scripts/evaluate_text`, with the default detector
and text models. A job may continue on another machine, so both must find the same: every label, box, text and
confidence. Needs Debian's package qemu-user. The emulated processor is about 60 times as slow: --quick takes
about ten minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
from text_evaluation.clips import clips
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "videoqueue" / "cli" / "sample.mp4"
EMULATOR = "qemu-x86_64"
#: The first Intel processor with AVX2, which OpenVINO's 8-bit code without VNNI needs. From 2013.
PROCESSOR = "Haswell"
_STRIDE, _QUICK_STRIDE = 5, 45
# The longest side of a picture with --quick, in pixels.
_QUICK_SIDE = 1280
Result = list[Any]


def main() -> None:
    options = _arguments()
    emulator = shutil.which(EMULATOR)
    if emulator is None:
        sys.exit(f"check_processors: {EMULATOR} is not installed. Install it: apt install qemu-user")
    with tempfile.TemporaryDirectory(prefix="videoqueue-processors-") as folder:
        pictures = list(_draw(Path(folder), options.quick))
        stride = _QUICK_STRIDE if options.quick else _STRIDE
        reader = [sys.executable, "-P", "-m", "processors.reader", str(stride), str(SAMPLE), *pictures]
        native = list(_read(reader, "this processor", None))
        emulated = _read([emulator, "-cpu", options.cpu, *reader], f"emulated {options.cpu}", len(native))
        differences = [line for pair in zip(native, emulated, strict=True) for line in _compare(*pair)]
    print("\n".join(differences))
    lines, objects = (sum(len(result[place]) for result in native) for place in (2, 1))
    print(
        f"{len(native)} pictures with {lines} lines of text and {objects} objects: "
        f"{len(differences)} differences between this processor and {options.cpu}"
    )
    sys.exit(bool(differences))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./scripts/check_processors",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="few pictures, none larger than 1280x720")
    parser.add_argument(
        "--cpu",
        default=PROCESSOR,
        help=f"the processor to emulate (default: {PROCESSOR}); see `{EMULATOR} -cpu help`",
    )
    return parser.parse_args()


def _draw(folder: Path, quick: bool) -> Iterator[str]:
    for clip in clips(quick):
        if quick and max(clip.size) > _QUICK_SIDE:
            continue
        for number, drawing in enumerate(clip.frames):
            file = folder / f"{clip.name} {number}.png"
            cv2.imwrite(str(file), drawing.picture)
            yield str(file)


def _read(command: list[str], name: str, total: int | None) -> Iterator[Result]:
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'scripts'}"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        for line in tqdm(process.stdout, desc=name, total=total, unit="picture", disable=None):
            yield json.loads(line)
    if process.returncode:
        sys.exit(f"check_processors: reading with {name} ended with {process.returncode}")


def _compare(native: Result, emulated: Result) -> Iterator[str]:
    """Yields a line for each object or line of text that differs."""
    for place in (1, 2):
        here, there = native[place], emulated[place]
        if len(here) != len(there):
            yield f"{native[0]}: {len(here)} and {len(there)} found"
        else:
            for one, other in zip(here, there, strict=True):
                if one != other:
                    yield f"{native[0]}: {one} and {other}"


if __name__ == "__main__":
    main()
