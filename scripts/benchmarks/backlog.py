"""A backlog of jobs of one owner: submitted to a web process, then processed by one worker.

The code may be that of an older commit: the two processes run by its Procfile, with the packages of this
virtual environment.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests
import sqlalchemy as sa

from benchmarks import rows, servers
from benchmarks.older import code_of
from tests.chaos.workplace import Workplace
from videoqueue.jobs.tables import JobRow

#: What the processes of an older commit need of it.
_PARTS = ("videoqueue", "migrations", "Procfile")


@dataclass(frozen=True)
class Side:
    """The code to measure: the folder of its Procfile, and the commands that run it."""

    root: Path
    workplace: Workplace
    pipeline: str

    def settings(self, queue: str) -> Mapping[str, str]:
        return {
            "REDIS_URL": queue,
            "VIDEOQUEUE_PIPELINES_DIR": str(self.workplace.pipelines),
            "VIDEOQUEUE_DEFAULT_PIPELINE": self.pipeline,
        }


@dataclass(frozen=True)
class Figures:
    """Jobs a second; processor time of worker and child; whether jobs began in the order of submission."""

    rate: float
    processor_ms: float
    in_order: bool


def measure(side: Side, folder: Path, video: Path, count: int) -> Figures:
    """Submits `count` jobs, starts the worker, and measures until all have ended."""
    folder.mkdir()
    data, commands = folder / "data", side.workplace.python.parent
    with servers.queue(folder / "valkey") as queue:
        settings = side.settings(queue)
        with servers.web(data, settings, commands, side.root) as web:
            for _ in range(count):
                submit(f"http://127.0.0.1:{web.port}", video)
        engine = rows.open_database(f"sqlite:///{data / 'videoqueue.db'}")
        with servers.worker(data, settings, commands, side.root) as pid:
            before = _processor_seconds(pid)
            _await_end(engine)
            seconds = _processor_seconds(pid) - before
        times = sa.select(JobRow.started_at, JobRow.finished_at).order_by(JobRow.created_at)
        with engine.connect() as connection:
            jobs = connection.execute(times).all()
        engine.dispose()
    started = [job.started_at for job in jobs]
    took = (max(job.finished_at for job in jobs) - min(started)) / 1e6
    return Figures(count / took, 1000 * seconds / count, started == sorted(started))


def compare_with(commit: str, now: Side, scratch: Path, video: Path, count: int, rounds: int) -> None:
    """Measures and prints the ratios of this checkout to the commit."""
    with code_of(commit, scratch, parts=_PARTS) as root:
        then = Side(root, Workplace(scratch / "older-venv", root), now.pipeline)
        made: dict[Side, list[Figures]] = {then: [], now: []}
        for number in range(rounds):
            for name, side in (("then", then), ("now", now)):
                made[side].append(measure(side, scratch / f"{name}-{number}", video, count))
    rate, rate_then = (statistics.median(one.rate for one in made[side]) for side in (now, then))
    work, work_then = (statistics.median(one.processor_ms for one in made[side]) for side in (now, then))
    in_order = all(one.in_order for figures in made.values() for one in figures)
    print(
        f"\nBacklog of {count} jobs, one worker; {commit} -> this checkout, medians of {rounds} rounds\n"
        f"  jobs/s           {rate_then:6.1f} -> {rate:6.1f}  x{rate / rate_then:.2f}\n"
        f"  processor ms/job {work_then:6.1f} -> {work:6.1f}  x{work_then / work:.2f}\n"
        f"  started in the order of submission: {'all' if in_order else 'NOT ALL'}",
        flush=True,
    )


def submit(url: str, video: Path) -> str:
    """Submits the video. Returns the id of the job."""
    answer = requests.post(
        f"{url}/video/submit", data=video.read_bytes(), headers={"Content-Type": "video/mp4"}, timeout=30
    )
    answer.raise_for_status()
    job_id: str = answer.json()["job_id"]
    return job_id


def _await_end(engine: sa.Engine) -> None:
    unfinished = sa.select(sa.func.count()).where(JobRow.status.in_(["pending", "running"]))
    while True:
        with engine.connect() as connection:
            if connection.execute(unfinished).scalar_one() == 0:
                return
        time.sleep(0.1)


def _processor_seconds(pid: int) -> float:
    """The processor time of the process and all below it, with those that have ended."""
    leader = psutil.Process(pid)
    return sum(sum(process.cpu_times()[:4]) for process in (leader, *leader.children(recursive=True)))
