"""The table of one clip: the sides next to each other, how far they agree, and the stages of videoqueue."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.agreement import Counts, best_overlaps, compare_texts
from benchmarks.processes import Bench, Figures, digest, frames_per_second, median, processor_ms

SIDES = {"a": "naive", "b": "ours", "c": "floor", "d": "decode"}
Runs = Mapping[str, Sequence[Figures]]


def compare(
    bench: Bench, file: Path, pipeline: str, rounds: int, written: Sequence[Sequence[str]] | None = None
) -> None:
    """Measures and prints; `written` are the lines of each frame, where they are known."""
    runs: dict[str, list[Figures]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side, made in runs.items():
            made.append(bench.run(SIDES[side], file, pipeline))
    rate = {side: median(made, frames_per_second) for side, made in runs.items()}
    work = {side: median(made, processor_ms) for side, made in runs.items()}
    for side, name in SIDES.items():
        # The floor holds all tensors in memory.
        peak = "" if name == "floor" else f"   peak {max(one['peak_mb'] for one in runs[side])} MB"
        print(f"  {side} {name:7}{rate[side]:8.2f} frames/s {work[side]:8.1f} processor ms/frame{peak}")
    print(f"  frames/s:       b/a {rate['b'] / rate['a']:.2f}   b/c {rate['b'] / rate['c']:.2f}")
    print(f"  processor time: a/b {work['a'] / work['b']:.2f}   c/b {work['c'] / work['b']:.2f}")
    _report_results(runs, written)


def print_stages(bench: Bench, file: Path, pipeline: str, rounds: int) -> None:
    """Measures and prints the processor time of each stage, for a frame and as a share."""
    runs = [bench.run("stages", file, pipeline) for _ in range(rounds)]
    stages = {
        name: 1000 * median(runs, lambda one, name=name: one["seconds"][name] / one["frames"])  # type: ignore[misc]
        for name in runs[0]["seconds"]
    }
    total = sum(stages.values())
    print(f"  stages of b, one thread: {total:.1f} processor ms/frame")
    for name, milliseconds in stages.items():
        print(f"    {name:22}{milliseconds:8.1f} ms {100 * milliseconds / total:5.0f} %")


def _report_results(runs: Runs, written: Sequence[Sequence[str]] | None) -> None:
    digests = {digest(one["results"]) for one in runs["b"]}
    print(f"  b gave {'the same results in every round' if len(digests) == 1 else 'DIFFERENT RESULTS'}")
    if written is not None:
        for side in ("a", "b"):
            print(f"  texts written, in {side}: {_found(written, runs[side][0]['results'])}")
    report_agreement(runs["a"][0]["results"], runs["b"][0]["results"])


def _found(written: Sequence[Sequence[str]], results: Sequence[dict[str, Any]]) -> Counts:
    texts = Counts()
    for lines, result in zip(written, results, strict=True):
        texts.add(compare_texts(lines, [block["text"] for block in result["text_blocks"]]))
    return texts


def report_agreement(expected: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]]) -> None:
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


def overlaps_of(expected: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]]) -> list[float]:
    """IoU of each box with the best found one of its label; texts have none."""
    return [
        best_overlaps(
            [one["box"]], [other["box"] for other in found if other.get("label") == one.get("label")]
        )[0]
        for one in expected
    ]
