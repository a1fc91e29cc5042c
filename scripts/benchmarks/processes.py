"""Runs a side in a process of its own and takes what it has measured."""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import text_clip
from benchmarks.encoding import encode

ROOT = Path(__file__).resolve().parents[2]
#: What a side has printed.
Figures = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """Where and how the sides run.

    `scratch` is a folder for files that are made on the way; `threads` is how many frames compute at once.
    """

    scratch: Path
    threads: int

    def run(
        self, side: str, file: Path, pipeline: str, threads: int | None = None, code: Path = ROOT
    ) -> Figures:
        """Runs a side of `benchmarks.sides` once; `code` is the folder with the package to measure."""
        return self._run(["benchmarks.sides", side], file, pipeline, threads, code)

    def run_child(self, file: Path, pipeline: str) -> Figures:
        """Runs `benchmarks.child` once."""
        return self._run(["benchmarks.child"], file, pipeline)

    def _run(
        self,
        module: list[str],
        file: Path,
        pipeline: str,
        threads: int | None = None,
        code: Path = ROOT,
    ) -> Figures:
        arguments = (*module, file, self._warm(file), threads or self.threads, pipeline)
        done = subprocess.run(
            [sys.executable, "-P", "-m", *map(str, arguments)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'scripts'}:{code}"},
            check=True,
        )
        figures: Figures = json.loads(done.stdout)
        return figures

    def _warm(self, file: Path) -> Path:
        """Returns a clip of one frame, as large as those of `file`, for all that is loaded on first use."""
        width, height = (side // 2 * 2 for side in _size_of(file))
        warm = self.scratch / f"warm {width}x{height}.mp4"
        if not warm.exists():
            picture, _ = next(text_clip.frames(1, seed=99))
            encode(warm, [picture.crop((0, 0, width, height))], text_clip.RATE)
        return warm


def median(runs: Iterable[Figures], figure: Callable[[Figures], float]) -> float:
    return statistics.median(map(figure, runs))


def frames_per_second(figures: Figures) -> float:
    return float(figures["frames"] / figures["seconds"])


def processor_ms(figures: Figures) -> float:
    """Processor time of all threads for a frame. Other work on the machine hardly changes it."""
    return float(1000 * figures["processor_seconds"] / figures["frames"])


def digest(results: Any) -> str:
    return hashlib.sha256(json.dumps(results, sort_keys=True).encode()).hexdigest()[:12]


def _size_of(file: Path) -> tuple[int, int]:
    from videoqueue.pipeline.decode.decoder import open_video

    with open_video(file) as video:
        height, width, _ = next(video.frames()).image().shape
    return width, height
