"""Speed and memory of the HTTP API, compared with a bare WSGI application on the same gunicorn.

All figures are medians of several rounds.

uploads    MB/s of raw and multipart bodies, into a folder and into S3 (moto's server, on this machine too),
           against a bare application that only writes the raw body to a file and syncs it
status     requests a second with many jobs in the table, against a bare Flask route doing one indexed read;
           idle, and while four uploads run; with a key against without
results    of many frames: seconds to the first byte and to the last, memory, and the time of a 304
memory     of the web process: before, the most during four uploads at once, after
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy.engine import Engine

from benchmarks import keys, load, rows, servers
from benchmarks.load import Upload, Uploads, request_rate

SAMPLE = servers.ROOT / "videoqueue" / "cli" / "sample.mp4"
_STATUS_SECONDS = 3.0
_MB = 1e6


def main() -> None:
    options = _parse()
    with servers.workplace(options.folder) as folder, ExitStack() as open_:
        redis_url = open_.enter_context(servers.queue(folder / "valkey"))
        settings = {"REDIS_URL": redis_url, "VIDEOQUEUE_MAX_PENDING_JOBS": "1000000"}
        web = open_.enter_context(servers.web(folder / "data", settings))
        database = f"sqlite:///{folder / 'data' / 'videoqueue.db'}"
        bare = open_.enter_context(servers.bare(folder / "bare", database))
        large = _video(folder / "large.mp4", options.upload_bytes)
        _uploads(web, bare, large, folder / "data", options.rounds)
        _memory(web, large, folder / "data")
        engine = rows.open_database(database)
        _status(
            web,
            bare,
            large,
            folder / "data",
            [str(job) for job in rows.add_jobs(engine, options.jobs)],
            options.rounds,
        )
        _results(web, engine, options)
        keys.compare(engine, folder / "data", settings, options.rounds)
        engine.dispose()
        if not options.no_s3:
            part = _video(folder / "part.mp4", options.upload_bytes // 8)
            _s3(folder, redis_url, bare, part, options.rounds)


def _uploads(web: servers.Server, bare: servers.Server, file: Path, data: Path, rounds: int) -> None:
    sides = {
        "bare": (bare, Upload(file, "/upload")),
        "raw": (web, Upload(file, "/video/submit")),
        "multipart": (web, Upload(file, "/video/submit", form=True)),
    }
    _print_uploads("folder", file, _compare_uploads(sides, rounds, lambda: servers.remove_videos(data)))


def _compare_uploads(
    sides: Mapping[str, tuple[servers.Server, Upload]], rounds: int, clean: Callable[[], None]
) -> dict[str, float]:
    """Median seconds of each side; the sides take turns."""
    took: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, (server, upload) in sides.items():
            took[side].append(upload.send(server.port))
            clean()
    return {side: statistics.median(seconds) for side, seconds in took.items()}


def _print_uploads(storage: str, file: Path, seconds: Mapping[str, float]) -> None:
    size = file.stat().st_size
    print(f"\nUpload of {size / _MB:.0f} MB, {storage}")
    for side, took in seconds.items():
        print(f"  {side:10}{size / _MB / took:8.0f} MB/s   {seconds['bare'] / took:.2f} of bare", flush=True)


def _memory(web: servers.Server, file: Path, data: Path) -> None:
    before = web.memory_mb()
    with Uploads(Upload(file, "/video/submit", form=True), web.port):
        time.sleep(3)
    servers.remove_videos(data)
    print(
        f"\nMemory of the web process: {before:.0f} MB before four uploads at once, "
        f"{web.memory_mb():.0f} MB after, {web.peak_mb():.0f} MB at its highest",
        flush=True,
    )


def _status(
    web: servers.Server, bare: servers.Server, file: Path, data: Path, ids: list[str], rounds: int
) -> None:
    sides = {"bare": (bare, "/row/{}", "/upload"), "status": (web, "/video/status/{}", "/video/submit")}
    chosen = ids[:: max(1, len(ids) // 1000)]
    for condition in ("idle", "four uploads"):
        rates: dict[str, list[load.Rate]] = {side: [] for side in sides}
        for _ in range(rounds):
            for side, (server, path, target) in sides.items():
                with ExitStack() as busy:
                    if condition != "idle":
                        busy.enter_context(Uploads(Upload(file, target), server.port))
                    paths = [path.format(job_id) for job_id in chosen]
                    rates[side].append(request_rate(server.port, paths, _STATUS_SECONDS))
                servers.remove_videos(data)
        middle = {side: statistics.median(rate.per_second for rate in rates[side]) for side in sides}
        print(f"\nStatus, {len(ids):,} jobs in the table, {condition}")
        for side in sides:
            median, worst = (
                max(getattr(rate, name) for rate in rates[side]) for name in ("median_ms", "worst_ms")
            )
            print(
                f"  {side:10}{middle[side]:8.0f} requests/s   median {median:.1f} ms, worst {worst:.0f} ms   "
                f"{middle[side] / middle['bare']:.2f} of bare",
                flush=True,
            )


def _results(web: servers.Server, engine: Engine, options: argparse.Namespace) -> None:
    before = web.peak_mb()
    print("\nResults")
    path = etag = ""
    for frames in (1000, options.frames):
        job_id, etag = rows.add_results(engine, frames)
        path = f"/video/results/{job_id}"
        for headers in ("", "Accept-Encoding: gzip\r\n"):
            taken = [load.download(web.port, path, headers) for _ in range(options.rounds)]
            first, whole = (
                statistics.median(getattr(one, name) for one in taken)
                for name in ("seconds_to_first", "seconds")
            )
            print(
                f"  {frames:7,} frames{', gzip' if headers else '':6}  {taken[0].size / _MB:6.2f} MB, "
                f"first byte after {1000 * first:.1f} ms, last after {whole:.2f} s",
                flush=True,
            )
    print(f"  the web process grew by {max(0.0, web.peak_mb() - before):.0f} MB over its highest so far")
    status = path.replace("results", "status")
    unchanged = f'If-None-Match: "{etag}"\r\n'
    taken_304 = [request_rate(web.port, [path], 2, unchanged, expect=304) for _ in range(options.rounds)]
    taken_status = [request_rate(web.port, [status], 2) for _ in range(options.rounds)]
    rate_304, rate_status = (
        statistics.median(rate.per_second for rate in taken) for taken in (taken_304, taken_status)
    )
    print(f"  304: {rate_304:.0f} requests/s, {rate_304 / rate_status:.2f} of status")


def _s3(folder: Path, redis_url: str, bare: servers.Server, file: Path, rounds: int) -> None:
    with servers.s3() as environ:
        settings = {"REDIS_URL": redis_url, "VIDEOQUEUE_STORAGE_URL": "s3://videos/benchmark", **environ}
        with servers.web(folder / "data-s3", settings) as web:
            sides = {
                "bare": (bare, Upload(file, "/upload")),
                "raw": (web, Upload(file, "/video/submit")),
                "multipart": (web, Upload(file, "/video/submit", form=True)),
            }
            _print_uploads("S3", file, _compare_uploads(sides, rounds, lambda: None))
            print(f"  web process: {web.peak_mb():.0f} MB at its highest")


def _video(path: Path, size: int) -> Path:
    """The sample video with as many bytes behind it as are missing, in a box that says they are free."""
    sample = SAMPLE.read_bytes()
    padding = size - len(sample) - 16
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        file.write(sample + b"\0\0\0\1free" + (padding + 16).to_bytes(8, "big"))
        for start in range(0, padding, len(block)):
            file.write(block[: padding - start])
        file.flush()
        os.fsync(file.fileno())
    return path


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./scripts/benchmark http",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, help="runs of each side (default: 5)")
    parser.add_argument(
        "--upload-bytes", type=int, default=1 << 30, help="size of an upload (default: 1 GiB)"
    )
    parser.add_argument("--jobs", type=int, default=100_000, help="jobs in the table (default: 100000)")
    parser.add_argument("--frames", type=int, default=100_000, help="frames of the results (default: 100000)")
    parser.add_argument(
        "--folder", type=Path, help="folder for the data (default: the folder for temporary files)"
    )
    parser.add_argument("--no-s3", action="store_true", help="leave S3 out")
    return parser.parse_args()


if __name__ == "__main__":
    main()
