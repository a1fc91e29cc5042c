"""Segments and exports of the results of many frames, from the web process over a socket.

Frames have one to four objects that move and one to four lines of text, a tenth of them misread. For each
format: the time until the last byte, output per second, output per second of the web process's processor
time, and that processor time compared with the floor: a loop of json.loads over the same items in this
process. Other load on the machine changes processor time less. The segments are requested twice: they are
made first, and kept then.

Then the peak memory of the web process, with a tenth of the frames before, and with all of them after.
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from benchmarks import load, rows, servers

#: What is requested, in this order: the first request for segments makes them.
_REQUESTS: Final = {
    "segments, made": "segments",
    "segments, kept": "segments",
    "csv": "export?format=csv",
    "jsonl": "export?format=jsonl",
    "jsonl, sure ones": "export?format=jsonl&min_confidence=0.7",
    "coco": "export?format=coco",
    "vtt": "export?format=vtt",
    "srt": "export?format=srt",
}


@dataclass(frozen=True)
class Taken:
    """What one request took; `processor_seconds` are those of the web process."""

    seconds: float
    processor_seconds: float
    size: int


def main() -> None:
    options = _parse()
    with servers.workplace(options.folder) as folder, ExitStack() as open_:
        settings = {"REDIS_URL": open_.enter_context(servers.queue(folder / "valkey"))}
        web = open_.enter_context(servers.web(folder / "data", settings))
        engine = rows.open_database(f"sqlite:///{folder / 'data' / 'videoqueue.db'}")
        open_.callback(engine.dispose)
        _measure(web, str(rows.add_results(engine, options.frames // 10, rows.mixed)[0]))
        peak = web.peak_mb()
        floor = _floor(options.frames)
        print(
            f"\n{options.frames:,} frames; the floor is {floor:.2f} s, {options.frames / floor:,.0f} frames/s"
        )
        taken = _measure(web, str(rows.add_results(engine, options.frames, rows.mixed)[0]))
        for title, one in taken.items():
            print(_line(title, one, options.frames, floor), flush=True)
        print(f"\nPeak memory {peak:.0f} MB with {options.frames // 10:,} frames -> {web.peak_mb():.0f} MB")


def _measure(web: servers.Server, job_id: str) -> dict[str, Taken]:
    return {title: _request(web, f"/jobs/{job_id}/{request}") for title, request in _REQUESTS.items()}


def _request(web: servers.Server, path: str) -> Taken:
    before = _processor_seconds(web.pid)
    download = load.download(web.port, path)
    return Taken(download.seconds, _processor_seconds(web.pid) - before, download.size)


def _processor_seconds(pid: int) -> float:
    leader = psutil.Process(pid)
    family = [leader, *leader.children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in family)


def _floor(frames: int) -> float:
    """Returns the processor seconds of json.loads over all items, one after the other."""
    seconds = 0.0
    for first in range(0, frames, 1000):
        texts = [json.dumps(rows.mixed(index)) for index in range(first, min(first + 1000, frames))]
        started = time.process_time()
        for text in texts:
            json.loads(text)
        seconds += time.process_time() - started
    return seconds


def _line(title: str, one: Taken, frames: int, floor: float) -> str:
    processor = max(one.processor_seconds, 0.01)  # the kernel counts in hundredths
    megabytes = one.size / 1e6
    return (
        f"  {title:17} {one.seconds:7.2f} s {megabytes:8.2f} MB {megabytes / one.seconds:7.1f} MB/s  "
        f"processor {processor:6.2f} s {megabytes / processor:7.1f} MB/s "
        f"{frames / processor:11,.0f} frames/s  x{processor / floor:.2f}"
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./scripts/benchmark exports",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--frames", type=int, default=108_000, help="frames of the results (default: 108000, an hour)"
    )
    parser.add_argument(
        "--folder", type=Path, help="folder for the data (default: the folder for temporary files)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
