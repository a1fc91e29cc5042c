"""How long a killed worker or child holds its job up, with the default settings."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import psutil

from tests.chaos import report
from tests.chaos.catalogue import Catalogue
from tests.chaos.client import Client, Observed, new_key
from tests.chaos.faults import Kill
from tests.chaos.oracle import Oracle
from tests.chaos.processes import child_of
from tests.chaos.service import ChaosService
from tests.chaos.settings import DEFAULTS
from tests.support.stack import eventually

#: Seconds from the kill to the next claim of the job.
LIMITS = {"kill worker": 40.0, "kill child": 2.0}
#: Long enough to be killed in the middle.
_FRAMES = 60


def measure_recovery(folder: Path, database: str, kills: int) -> tuple[list[str], list[str]]:
    """Kills so many workers and children, each in the middle of a job; what was broken, and the report."""
    with ChaosService(folder, database, DEFAULTS) as service:
        catalogue = Catalogue(folder, service.workplace.pipelines)
        video = catalogue.make("slow", seed=99, frames=_FRAMES)
        client = Client(service.url, Observed())
        done, submitted = [], []
        for kind in LIMITS:
            for _ in range(kills):
                one = client.submit(video, new_key(), lambda: False)
                submitted.append(one)
                done.append(_kill_in_the_middle(service, kind))
                _await_completed(client, one.accepted)
        broken = Oracle(service).broken(submitted)
        found = report.recoveries(service, done)
    for kind, limit in LIMITS.items():
        claims, _ = found[kind]
        if len(claims) != kills or max(claims) >= limit:
            broken.append(f"{kind}: {claims} seconds to the next claim, each should be under {limit:g}")
    return broken, report.recovery_lines(found)


def _await_completed(client: Client, job_id: uuid.UUID) -> None:
    eventually(lambda: client.status(job_id) == "completed", "it is completed", 120)


def _kill_in_the_middle(service: ChaosService, kind: str) -> Kill:
    """Kills the worker process, or its child, as soon as a frame of its job has been stored."""
    stored = len(service.database.rows("SELECT id FROM stored_chunk"))
    eventually(
        lambda: len(service.database.rows("SELECT id FROM stored_chunk")) > stored, "a frame is stored"
    )
    ((job_id, worker),) = service.database.jobs_under_way()
    victim = psutil.Process(worker)
    if kind == "kill child":
        victim = eventually(lambda: child_of(victim), "the worker has a child")
    at = time.time_ns() // 1000
    victim.kill()
    return Kill(kind, at, (job_id,))
