"""Results of many frames as this checkout and another commit send them, in turn, from one database.

This checkout reads encoded chunks; the other commit, which is from before them, reads JSON. The figures are
medians of several rounds: seconds to the first byte and to the last. Then the bytes in the database.
"""

from __future__ import annotations

import argparse
import statistics
from contextlib import ExitStack
from pathlib import Path

from benchmarks import load, rows, servers
from benchmarks.older import code_of


def main() -> None:
    options = _parse()
    with servers.workplace(options.folder) as folder, ExitStack() as open_:
        older = open_.enter_context(code_of(options.against, folder))
        settings = {"REDIS_URL": open_.enter_context(servers.queue(folder / "valkey"))}
        data = folder / "data"
        now = open_.enter_context(servers.web(data, settings))
        then = open_.enter_context(servers.web(data, settings | {"PYTHONPATH": str(older)}, migrate=False))
        engine = rows.open_database(f"sqlite:///{data / 'videoqueue.db'}")
        for kind, items in rows.KINDS.items():
            jobs = {
                side: rows.add_results(engine, options.frames, items, is_encoded=side is now)
                for side in (then, now)
            }
            _compare(kind, options, jobs)
            sizes = [rows.stored_bytes(engine, job_id) for job_id, _ in jobs.values()]
            print(f"  {'in the database':15} {sizes[0] / 1e6:8.2f} -> {sizes[1] / 1e6:8.2f} MB", flush=True)
        engine.dispose()


def _compare(kind: str, options: argparse.Namespace, jobs: dict[servers.Server, rows.Stored]) -> None:
    print(f"\n{options.frames:,} frames, {kind}: {options.against} -> this checkout")
    for title, query, headers in (
        ("whole", "", ""),
        ("whole, gzip", "", "Accept-Encoding: gzip\r\n"),
        ("first page", "?page_size=1000", ""),
    ):
        taken: list[list[load.Download]] = [[] for _ in jobs]
        sides = list(zip(jobs.items(), taken, strict=True))
        for _ in range(options.rounds):
            sides.reverse()
            for (server, (job_id, _)), downloads in sides:
                path = f"/video/results/{job_id}{query}"
                downloads.append(load.download(server.port, path, headers))
        firsts, wholes = (
            [statistics.median(getattr(one, name) for one in downloads) for downloads in taken]
            for name in ("seconds_to_first", "seconds")
        )
        print(
            f"  {title:15} first byte {1000 * firsts[0]:7.1f} -> {1000 * firsts[1]:7.1f} ms "
            f"x{firsts[1] / firsts[0]:.2f}   last {wholes[0]:6.3f} -> {wholes[1]:6.3f} s "
            f"x{wholes[1] / wholes[0]:.2f}",
            flush=True,
        )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./scripts/benchmark results",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--against", required=True, help="the commit to compare with")
    parser.add_argument("--rounds", type=int, default=7, help="runs of each side (default: 7)")
    parser.add_argument("--frames", type=int, default=100_000, help="frames of the results (default: 100000)")
    parser.add_argument(
        "--folder", type=Path, help="folder for the data (default: the folder for temporary files)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
