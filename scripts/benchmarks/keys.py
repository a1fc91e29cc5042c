"""The cost of a key: requests a second for status, with and without one, and processor time a request."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import psutil
from sqlalchemy.engine import Engine

from benchmarks import rows, servers
from benchmarks.load import request_rate
from videoqueue.jobs.keys import KeyStore

_SECONDS = 3.0
_OWNER = "benchmark"


def compare(engine: Engine, data: Path, settings: Mapping[str, str], rounds: int) -> None:
    """Prints the rates of two web processes over the same database; one of them requires a key."""
    nobodys, owners = (rows.add_jobs(engine, 1000, owner) for owner in ("", _OWNER))
    _, token = KeyStore(engine).create(_OWNER, frozenset({"read"}))
    rates: dict[str, list[float]] = {"without": [], "with": []}
    work: dict[str, list[float]] = {"without": [], "with": []}
    with ExitStack() as open_:
        without, required = (
            open_.enter_context(servers.web(data, {**settings, "VIDEOQUEUE_AUTH": auth}))
            for auth in ("off", "required")
        )
        sides = {
            "without": (without, nobodys, ""),
            "with": (required, owners, f"Authorization: Bearer {token}\r\n"),
        }
        for _ in range(rounds):
            for side, (server, ids, headers) in sides.items():
                paths = [f"/video/status/{job_id}" for job_id in ids]
                before = _processor_seconds(server)
                rate = request_rate(server.port, paths, _SECONDS, headers).per_second
                rates[side].append(rate)
                work[side].append((_processor_seconds(server) - before) / (rate * _SECONDS))
    middle = {side: statistics.median(many) for side, many in rates.items()}
    cost = {side: statistics.median(many) for side, many in work.items()}
    print("\nStatus with a key")
    for side in sides:
        print(
            f"  {side:10}{middle[side]:8.0f} requests/s   {1e6 * cost[side]:.0f} processor µs a request   "
            f"{middle[side] / middle['without']:.2f} of the rate without, "
            f"{cost['without'] / cost[side]:.2f} by processor time",
            flush=True,
        )


def _processor_seconds(server: servers.Server) -> float:
    leader = psutil.Process(server.pid)
    times = [process.cpu_times() for process in (leader, *leader.children(recursive=True))]
    return float(sum(one.user + one.system for one in times))
