"""The overhead of a job, with SQLite, a folder, a Valkey of its own and one worker.

    overhead   from the start of the upload to `completed`, minus the pipeline's own time over the same video
               in this process; one job after the other, on an idle service
    backlog    jobs per second of one worker with many tiny videos pending

The pipeline is a test plugin that computes a digest of each frame.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import uuid
from contextlib import ExitStack
from pathlib import Path

import requests
import sqlalchemy as sa

from benchmarks import rows, servers
from tests.chaos.plugin import ChaosPlugin
from tests.chaos.workplace import Workplace
from tests.support.videos import make_video
from videoqueue.jobs.tables import JobRow
from videoqueue.pipeline.definitions.definition import load_definitions
from videoqueue.pipeline.plugin import PluginOptions
from videoqueue.pipeline.registry import PluginRegistry
from videoqueue.pipeline.service import VideoFilePipelineService

_PIPELINE = "quick"
_POLL_SECONDS = 0.05


def main() -> None:
    options = _parse()
    with tempfile.TemporaryDirectory(prefix="videoqueue-benchmark-") as name, ExitStack() as open_:
        folder = Path(name)
        processors, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
        print(f"{processors} processors, load {load:.1f} at the start", flush=True)
        workplace = Workplace(folder / "venv")
        video = make_video(folder / "tiny.mp4", frames=5)
        settings = {
            "REDIS_URL": open_.enter_context(servers.queue(folder / "valkey")),
            "VIDEOQUEUE_PIPELINES_DIR": str(workplace.pipelines),
            "VIDEOQUEUE_DEFAULT_PIPELINE": _PIPELINE,
        }
        data, commands = folder / "data", workplace.python.parent
        web = open_.enter_context(servers.web(data, settings, commands))
        url = f"http://127.0.0.1:{web.port}"
        engine = rows.open_database(f"sqlite:///{data / 'videoqueue.db'}")
        with servers.worker(data, settings, commands):
            _overhead(url, video, engine, _own_seconds(video, workplace.pipelines), options.jobs)
        _submit_backlog(url, video, options.backlog)
        with servers.worker(data, settings, commands):
            _drain(engine, options.backlog)
        engine.dispose()


def _own_seconds(video: Path, pipelines: Path) -> float:
    """What the pipeline takes for the video when nothing else is done: the median of some runs."""
    registry = PluginRegistry(PluginOptions(1, {}), {"chaos": ChaosPlugin})
    service = VideoFilePipelineService(load_definitions(pipelines), registry)
    took = []
    for _ in range(10):
        started = time.perf_counter()
        service.run_on_file(video, _PIPELINE)
        took.append(time.perf_counter() - started)
    return statistics.median(took)


def _overhead(url: str, video: Path, engine: sa.Engine, own_seconds: float, count: int) -> None:
    _one_job(url, video, engine)  # starts the worker's child
    took = sorted(_one_job(url, video, engine) - own_seconds for _ in range(count))
    print(
        f"\nOverhead of a job, {count} jobs, one at a time; the pipeline's own {1000 * own_seconds:.0f} ms "
        f"left out\n  p50 {1000 * statistics.median(took):.0f} ms, p95 "
        f"{1000 * statistics.quantiles(took, n=20)[-1]:.0f} ms, most {1000 * took[-1]:.0f} ms",
        flush=True,
    )


def _one_job(url: str, video: Path, engine: sa.Engine) -> float:
    """Seconds from the start of the upload until the row was completed, by the one clock of this machine."""
    started = time.time()
    job_id = _submit(url, video)
    while requests.get(f"{url}/video/status/{job_id}", timeout=10).json()["status"] != "completed":
        time.sleep(_POLL_SECONDS)
    with engine.connect() as connection:
        ended = sa.select(JobRow.finished_at).where(JobRow.job_id == uuid.UUID(job_id))
        finished_at = connection.execute(ended).scalar_one()
    assert finished_at is not None, "a completed job has an end"
    return finished_at / 1e6 - started


def _submit_backlog(url: str, video: Path, count: int) -> None:
    for _ in range(count):
        _submit(url, video)


def _submit(url: str, video: Path) -> str:
    answer = requests.post(
        f"{url}/video/submit", data=video.read_bytes(), headers={"Content-Type": "video/mp4"}, timeout=30
    )
    answer.raise_for_status()
    job_id: str = answer.json()["job_id"]
    return job_id


def _drain(engine: sa.Engine, count: int) -> None:
    unfinished = sa.select(sa.func.count()).where(JobRow.status.in_(["pending", "running"]))
    newest = sa.select(JobRow.started_at, JobRow.finished_at).order_by(JobRow.created_at.desc()).limit(count)
    while True:
        with engine.connect() as connection:
            if connection.execute(unfinished).scalar_one() == 0:
                times = connection.execute(newest).all()
                break
        time.sleep(0.5)
    seconds = (max(row.finished_at for row in times) - min(row.started_at for row in times)) / 1e6
    print(
        f"\nBacklog of {count} jobs, one worker: {count / seconds:.1f} jobs/s ({seconds:.1f} s)", flush=True
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./scripts/benchmark jobs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--jobs", type=int, default=50, help="jobs one at a time (default: 50)")
    parser.add_argument("--backlog", type=int, default=300, help="pending jobs (default: 300)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
