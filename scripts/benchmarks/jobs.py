"""The overhead of a job, with SQLite, a folder, a Valkey of its own and one worker.

    overhead   from the start of the upload to `completed`, minus the pipeline's own time over the same video
               in this process; one job after the other, on an idle service
    backlog    jobs per second of one worker with many tiny videos pending
    against    with --against COMMIT, instead of the others: the backlog with the code of that commit and with
               this code, in turn; medians. Processor time is that of the worker and its child; other load on
               the machine changes it less than the rate

The pipeline is a test plugin that computes a digest of each frame.
"""

from __future__ import annotations

import argparse
import statistics
import time
import uuid
from contextlib import ExitStack
from pathlib import Path

import requests
import sqlalchemy as sa

from benchmarks import backlog, rows, servers
from benchmarks.processes import ROOT
from tests.chaos.plugin import ChaosPlugin
from tests.chaos.workplace import Workplace
from tests.support.videos import make_video
from videoqueue.jobs.tables import JobRow
from videoqueue.pipeline.definitions.definition import load_definitions
from videoqueue.pipeline.plugin import PluginOptions
from videoqueue.pipeline.registry import PluginRegistry
from videoqueue.pipeline.service import VideoFilePipelineService

PIPELINE = "quick"
_POLL_SECONDS = 0.05


def main() -> None:
    options = _parse()
    with servers.workplace(None) as folder:
        video = make_video(folder / "tiny.mp4", frames=5)
        side = backlog.Side(ROOT, Workplace(folder / "venv"), PIPELINE)
        if options.against:
            backlog.compare_with(options.against, side, folder, video, options.backlog, options.rounds)
            return
        _overhead(side, folder / "overhead", video, options.jobs)
        figures = backlog.measure(side, folder / "backlog", video, options.backlog)
        print(
            f"\nBacklog of {options.backlog} jobs, one worker: {figures.rate:.1f} jobs/s, "
            f"{figures.processor_ms:.1f} processor ms a job",
            flush=True,
        )


def _own_seconds(video: Path, pipelines: Path) -> float:
    """What the pipeline takes for the video when nothing else is done: the median of some runs."""
    registry = PluginRegistry(PluginOptions(1, {}), {"chaos": ChaosPlugin})
    service = VideoFilePipelineService(load_definitions(pipelines), registry)
    took = []
    for _ in range(10):
        started = time.perf_counter()
        service.run_on_file(video, PIPELINE)
        took.append(time.perf_counter() - started)
    return statistics.median(took)


def _overhead(side: backlog.Side, folder: Path, video: Path, count: int) -> None:
    own_seconds = _own_seconds(video, side.workplace.pipelines)
    with ExitStack() as open_:
        folder.mkdir()
        settings = side.settings(open_.enter_context(servers.queue(folder / "valkey")))
        data, commands = folder / "data", side.workplace.python.parent
        web = open_.enter_context(servers.web(data, settings, commands))
        engine = rows.open_database(f"sqlite:///{data / 'videoqueue.db'}")
        open_.callback(engine.dispose)
        open_.enter_context(servers.worker(data, settings, commands))
        url = f"http://127.0.0.1:{web.port}"
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
    job_id = backlog.submit(url, video)
    while requests.get(f"{url}/video/status/{job_id}", timeout=10).json()["status"] != "completed":
        time.sleep(_POLL_SECONDS)
    with engine.connect() as connection:
        ended = sa.select(JobRow.finished_at).where(JobRow.job_id == uuid.UUID(job_id))
        finished_at = connection.execute(ended).scalar_one()
    assert finished_at is not None, "a completed job has an end"
    return finished_at / 1e6 - started


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./scripts/benchmark jobs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--jobs", type=int, default=50, help="jobs one at a time (default: 50)")
    parser.add_argument("--backlog", type=int, default=300, help="pending jobs (default: 300)")
    parser.add_argument("--against", metavar="COMMIT", help="compare with the code of that commit")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each with --against (default: 5)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
