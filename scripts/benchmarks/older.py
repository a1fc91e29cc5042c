"""Compares videoqueue with itself at another commit: the same files, packages and machine, in turn."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.processes import (
    ROOT,
    Bench,
    Figures,
    digest,
    frames_per_second,
    median,
    processor_ms,
)


@contextmanager
def code_of(
    commit: str, scratch: Path, repository: Path = ROOT, parts: Sequence[str] = ("videoqueue",)
) -> Iterator[Path]:
    """Yields a folder with the package videoqueue, or other parts, as they were at the commit.

    Raises: SystemExit: git knows no such commit, or it has no such part.
    """
    folder = scratch / "other commit"
    folder.mkdir()
    archive = scratch / "other commit.tar"
    command = [
        "git",
        "-C",
        str(repository),
        "archive",
        "--format=tar",
        f"--output={archive}",
        commit,
        *parts,
    ]
    packed = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if packed.returncode:
        raise SystemExit(f"benchmark: --against {commit}: {packed.stderr.strip()}")
    subprocess.run(["tar", "-xf", str(archive), "-C", str(folder)], check=True)
    yield folder


def compare_with(
    commit: str, bench: Bench, files: Iterable[Path], pipelines: Iterable[str], rounds: int
) -> None:
    """Measures and prints the ratios of this checkout to the commit for each file and pipeline."""
    print(f"\n{commit} -> this checkout, medians of {rounds} rounds")
    print(f"  {'':35} {'frames/s':25} {'processor ms/frame':25} peak MB        results")
    pipelines = list(pipelines)
    with code_of(commit, bench.scratch) as older:
        for file in files:
            for pipeline in pipelines:
                now: list[Figures] = []
                then: list[Figures] = []
                for _ in range(rounds):
                    then.append(bench.run("ours", file, pipeline, code=older))
                    now.append(bench.run("ours", file, pipeline))
                _print_row(f"{file.stem}, {pipeline}", now, then)


def _print_row(title: str, now: list[Figures], then: list[Figures]) -> None:
    rate, rate_then = median(now, frames_per_second), median(then, frames_per_second)
    work, work_then = median(now, processor_ms), median(then, processor_ms)
    results = {digest(one["results"]) for one in now + then}
    print(
        f"  {title:35} {rate_then:7.2f} -> {rate:7.2f} x{rate / rate_then:.2f}  "
        f"{work_then:7.1f} -> {work:7.1f} x{work_then / work:.2f}  "
        f"{max(one['peak_mb'] for one in then):4} -> {max(one['peak_mb'] for one in now):4}   "
        f"{'the same' if len(results) == 1 else 'other'}",
        flush=True,
    )
